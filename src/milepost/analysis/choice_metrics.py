"""The figures of a multiple-choice task that come free with its log-likelihoods, with standard errors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from milepost.analysis.calibration import calibration_error
from milepost.analysis.choice_values import ChoiceTable, DocMetrics
from milepost.analysis.pick_bias import pick_bias
from milepost.types import Choices, Estimate, PickCounts

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
"""The free figures in their order, and in which direction each is better; see `docs/metrics.md`."""


def free_metrics(choices: Choices, docs: DocMetrics) -> dict[str, Estimate]:
    """The figures of `HIGHER_IS_BETTER` that are means over docs, or nearly so, for one task and checkpoint.

    Means over docs have the standard error of a mean (Miller, arXiv 2411.00640, section 2.1). Docs without a
    right choice count as wrong, and are left out where that has no meaning (`bpb_right`).
    """
    layout = ChoiceTable.of(choices)
    right = layout.table(choices.right, False)
    guess = float((right.sum(axis=1) / layout.counts).mean())
    error = calibration_error(docs.confidence, docs.sure_right)
    return {
        "acc": _mean(docs.right, guess),
        "acc_norm": _mean(docs.right_norm, guess),
        "acc_tokens": _mean(docs.right_tokens, guess),
        "acc_bytes": _mean(docs.right_bytes, guess),
        "acc_balanced": _balanced(layout, right, docs.right),
        "prob_right": _mean(docs.prob_right, guess),
        "bpb_right": _mean(docs.bpb_right),
        "margin": _mean(docs.margin),
        "entropy": _mean(docs.entropy),
        "ece": Estimate(error.error, error.stderr, len(docs), None),
    }


def pick_metrics(counts: PickCounts) -> dict[str, Estimate]:
    """The rest of them: how one-sided the picks of a task or group are; see `PickBias`."""
    found = pick_bias(counts)
    return {
        "pick_entropy": Estimate(found.entropy_bits, None, counts.n, None),
        "pick_bias": Estimate(found.excess, None, counts.n, None),
    }


def _mean(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_], chance: float | None = None) -> Estimate:
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    n = len(known)
    stderr = float(known.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    return Estimate(float(known.mean()) if n else None, stderr, n, chance)


def _balanced(layout: ChoiceTable, right: npt.NDArray[np.bool_], hit: npt.NDArray[np.bool_]) -> Estimate:
    """Per-position balanced accuracy: the mean over positions of the accuracy where the right choice is.

    A model that always gives the same letter scores exactly chance, whatever the letter and however the
    right answers are spread. (Balanced accuracy as in Brodersen et al., ICPR 2010, with the position of the
    right choice as the class.) Docs are first parted by how many choices they offer, so that a position that
    only a few docs have does not weigh as much as one that all have.
    """
    value = variance = chance = 0.0
    for count in np.unique(layout.counts):
        some = layout.counts == count
        places = [right[some, place] for place in range(int(count))]
        classes = [hit[some][at] for at in places if at.any()]
        if not classes:
            continue
        share = float(some.mean())
        value += share * float(np.mean([own.mean() for own in classes]))
        errors = [own.var(ddof=1) / len(own) if len(own) > 1 else 0.25 for own in classes]
        variance += (share / len(classes)) ** 2 * float(np.sum(errors))
        chance += share * float((right[some].sum(axis=1) / count).mean())
    return Estimate(value, float(np.sqrt(variance)), len(hit), chance)
