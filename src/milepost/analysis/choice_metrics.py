"""Compute the metrics of a multiple-choice task that need only its stored log-likelihoods."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from milepost.analysis.calibration import calibration_error
from milepost.analysis.choice_values import ChoiceTable, DocMetrics
from milepost.analysis.pick_bias import pick_bias
from milepost.types.choices import Choices
from milepost.types.metrics import Estimate
from milepost.types.picks import PickCounts

HIGHER_IS_BETTER: dict[str, bool | None] = {
    "acc": True,
    "acc_norm": True,
    "acc_tokens": True,
    "acc_bytes": True,
    "acc_balanced": True,
    "prob_right": True,
    "bpb_right": False,
    "margin": True,
    "entropy": None,
    "ece": False,
    "pick_entropy": None,
    "pick_bias": None,
}
"""The free metrics in order, with the direction in which each is better; see `docs/metrics.md`."""


def free_metrics(choices: Choices, docs: DocMetrics) -> dict[str, Estimate]:
    """Compute the metrics of `HIGHER_IS_BETTER` that are means over docs, for one task and checkpoint.

    They have the standard error of a mean (Miller, arXiv 2411.00640, section 2.1). Docs without a right
    choice count as wrong, and are left out of `bpb_right`, where that has no meaning.
    """
    table = ChoiceTable.of(choices)
    right = table.of_docs(choices.right, False)
    guess = float((right.sum(axis=1) / table.counts).mean())
    error = calibration_error(docs.confidence, docs.sure_right)
    return {
        "acc": _mean(docs.right, guess),
        "acc_norm": _mean(docs.right_norm, guess),
        "acc_tokens": _mean(docs.right_tokens, guess),
        "acc_bytes": _mean(docs.right_bytes, guess),
        "acc_balanced": _balanced(table, right, docs.right),
        "prob_right": _mean(docs.prob_right, guess),
        "bpb_right": _mean(docs.bpb_right),
        "margin": _mean(docs.margin),
        "entropy": _mean(docs.entropy),
        "ece": Estimate(error.error, error.stderr, len(docs), None),
    }


def pick_metrics(counts: PickCounts) -> dict[str, Estimate]:
    """Compute the other free metrics: how one-sided the picks of a task or group are; see `PickBias`."""
    bias = pick_bias(counts)
    return {
        "pick_entropy": Estimate(bias.entropy_bits, None, counts.n, None),
        "pick_bias": Estimate(bias.excess, None, counts.n, None),
    }


def _mean(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_], chance: float | None = None) -> Estimate:
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    n = len(known)
    stderr = float(known.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    return Estimate(float(known.mean()) if n else None, stderr, n, chance)


def _balanced(table: ChoiceTable, right: npt.NDArray[np.bool_], hit: npt.NDArray[np.bool_]) -> Estimate:
    """Compute balanced accuracy: the mean over positions of the accuracy on docs with a right choice there.

    A model that always gives the same letter scores exactly chance, whatever the right answers.
    (Balanced accuracy as in Brodersen et al., ICPR 2010, with the position of the right choice as the class.)
    Docs are first grouped by their number of choices, so that a position of a few docs does not weigh as much
    as a position of all docs.
    """
    value = variance = chance = 0.0
    for count in np.unique(table.counts):
        with_count = table.counts == count
        places = [right[with_count, place] for place in range(int(count))]
        classes = [hit[with_count][at] for at in places if at.any()]
        if not classes:
            continue
        share = float(with_count.mean())
        value += share * float(np.mean([hits.mean() for hits in classes]))
        errors = [hits.var(ddof=1) / len(hits) if len(hits) > 1 else 0.25 for hits in classes]
        variance += (share / len(classes)) ** 2 * float(np.sum(errors))
        chance += share * float((right[with_count].sum(axis=1) / count).mean())
    return Estimate(value, float(np.sqrt(variance)), len(hit), chance)
