"""Summarise a table of models by columns: win rate, rank, normalised mean, min-max sum.

Shapes: B draws of the docs, M models, K columns. A missing score is NaN and takes no part in its column.
Callers change signs so that higher is better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]


def wins(scores_BMK: Scores) -> Scores:
    """Return [B, M, K] how many other models each model beats in a column; a tie is half a win."""
    import numpy as np

    found = np.full(scores_BMK.shape, np.nan)
    for column in range(scores_BMK.shape[2]):
        scores_BM = scores_BMK[:, :, column]
        mine, others = scores_BM[:, :, None], scores_BM[:, None, :]
        beaten = (mine > others).sum(axis=2) + ((mine == others).sum(axis=2) - 1) / 2
        found[:, :, column] = np.where(np.isnan(scores_BM), np.nan, beaten)
    return found


def mean_win_rate(scores_BMK: Scores) -> Scores:
    """Return [B, M] the chance to beat a random other model, averaged over the model's columns.

    Columns with fewer than two models are ignored. Source: HELM (arXiv 2211.09110, section 1.1); its code,
    `compute_aggregate_row_win_rates` in helm/benchmark/presentation/summarize.py, counts ties the same way.
    """
    import numpy as np

    n_BK = _models_in(scores_BMK)
    rates = wins(scores_BMK) / np.where(n_BK > 1, n_BK - 1, np.nan)[:, None, :]
    return _mean_of_known(rates)


def mean_rank(scores_BMK: Scores) -> Scores:
    """Return [B, M] the mean rank over columns; 1 is the best, and ties share their mean rank."""
    return _mean_of_known(_models_in(scores_BMK)[:, None, :] - wins(scores_BMK))


def mean_normalised(scores_BMK: Scores, chance_K: Scores, ceiling_K: Scores) -> Scores:
    """Return [B, M] the mean of (score - chance) / (ceiling - chance): 0 is guessing, 1 is perfect.

    Columns without a chance level or a ceiling (NaN) are left out. A score below chance stays below 0; the
    Open LLM Leaderboard, the source of this normalisation, cuts it at 0.
    """
    return _mean_of_known((scores_BMK - chance_K) / (ceiling_K - chance_K))


def min_max_sum(scores_BMK: Scores) -> Scores:
    """Return [B, M] the sum over columns, each scaled from its worst model (0) to its best (1).

    NaN for a model without a column that others have, because a sum over fewer columns is not comparable. A
    column in which all are equal adds 0. Source: data-juicer, tools/evaluator/recorder/wandb_writer.py
    (`cal_score`), which scales over all checkpoints of all models; here over the models in the table.
    """
    import numpy as np

    known = scores_BMK[:, :, ~np.isnan(scores_BMK).all(axis=(0, 1))]
    # Draws in which no model has a column give NaN; nanmin would warn of each.
    low, high = (find.reduce(known, axis=1, keepdims=True) for find in (np.fmin, np.fmax))
    stretched = np.where(high > low, (known - low) / np.where(high > low, high - low, 1.0), known * 0.0)
    total: Scores = stretched.sum(axis=2)
    return total


def _models_in(scores_BMK: Scores) -> Scores:
    import numpy as np

    counts: Scores = (~np.isnan(scores_BMK)).sum(axis=1).astype(np.float64)
    return counts


def _mean_of_known(values_BMK: Scores) -> Scores:
    """Return the mean over columns with a value; NaN without any."""
    import numpy as np

    known = ~np.isnan(values_BMK)
    n = known.sum(axis=2)
    total = np.where(known, values_BMK, 0.0).sum(axis=2)
    mean: Scores = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    return mean
