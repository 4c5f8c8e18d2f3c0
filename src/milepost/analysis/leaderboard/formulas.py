"""Ways to sum up a table of models by columns. Knows arrays, not where they come from.

Shapes: B draws of the docs, M models, K columns. A score that is missing is NaN; it takes no part in its
column. Scores are turned so that higher is better before they come here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]


def wins(scores_BMK: Scores) -> Scores:
    """[B, M, K] how many other models each one beats in a column, a tie being half a win."""
    import numpy as np

    found = np.full(scores_BMK.shape, np.nan)
    for column in range(scores_BMK.shape[2]):
        scores_BM = scores_BMK[:, :, column]
        mine, others = scores_BM[:, :, None], scores_BM[:, None, :]
        beaten = (mine > others).sum(axis=2) + ((mine == others).sum(axis=2) - 1) / 2
        found[:, :, column] = np.where(np.isnan(scores_BM), np.nan, beaten)
    return found


def mean_win_rate(scores_BMK: Scores) -> Scores:
    """[B, M] the chance to beat a model drawn from the others, averaged over the columns that a model is in.

    Columns with fewer than two models say nothing. Source: HELM (arXiv 2211.09110, section 1.1); its code,
    `compute_aggregate_row_win_rates` in helm/benchmark/presentation/summarize.py, counts ties as we do.
    """
    import numpy as np

    n_BK = _models_in(scores_BMK)
    rates = wins(scores_BMK) / np.where(n_BK > 1, n_BK - 1, np.nan)[:, None, :]
    return _mean_of_known(rates)


def mean_rank(scores_BMK: Scores) -> Scores:
    """[B, M] the place in each column, 1 the best, ties sharing the mean of theirs; averaged over columns."""
    return _mean_of_known(_models_in(scores_BMK)[:, None, :] - wins(scores_BMK))


def mean_normalised(scores_BMK: Scores, chance_K: Scores, ceiling_K: Scores) -> Scores:
    """[B, M] (score - chance) / (ceiling - chance), averaged: 0 is guessing, 1 is perfect.

    Columns without a chance level or a ceiling (NaN) are left out. A score below chance counts as it is,
    below 0; the Open LLM Leaderboard, whose normalisation this is, cuts it at 0.
    """
    return _mean_of_known((scores_BMK - chance_K) / (ceiling_K - chance_K))


def min_max_sum(scores_BMK: Scores) -> Scores:
    """[B, M] each column stretched from its worst model (0) to its best (1), and the columns summed.

    NaN for a model that lacks a column that others have: a sum over fewer columns is no smaller score. A
    column in which all are equal adds nothing. Source: data-juicer, tools/evaluator/recorder/wandb_writer.py
    (`cal_score`), which stretches over all checkpoints of all models; here over the models in the table.
    """
    import numpy as np

    known = scores_BMK[:, :, ~np.isnan(scores_BMK).all(axis=(0, 1))]
    low, high = np.nanmin(known, axis=1, keepdims=True), np.nanmax(known, axis=1, keepdims=True)
    stretched = np.where(high > low, (known - low) / np.where(high > low, high - low, 1.0), known * 0.0)
    total: Scores = stretched.sum(axis=2)
    return total


def _models_in(scores_BMK: Scores) -> Scores:
    import numpy as np

    counts: Scores = (~np.isnan(scores_BMK)).sum(axis=1).astype(np.float64)
    return counts


def _mean_of_known(values_BMK: Scores) -> Scores:
    """Mean over the columns that are there; NaN where none is."""
    import numpy as np

    known = ~np.isnan(values_BMK)
    n = known.sum(axis=2)
    total = np.where(known, values_BMK, 0.0).sum(axis=2)
    mean: Scores = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    return mean
