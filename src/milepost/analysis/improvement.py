"""What a series shows: first to last, best and worst, and what of it is more than luck.

All checkpoints answer the same docs, so they are compared doc by doc. The best of many checkpoints looks
better than it is; so it comes with all those that the docs do not tell from it. Pure: arrays in, statements
out.

Shapes: S checkpoints by step, D docs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from milepost.analysis.intervals import Interval
from milepost.analysis.mean_test import FEWEST_DOCS, mean_interval, p_values
from milepost.analysis.paired import ALPHA, Flips, compare_pairs, holm, proportions_interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

FEWEST_LATER = 3
"""So many checkpoints without improvement make a plateau."""

FEWEST_ANSWERS = 6
"""Docs below which right and wrong answers can show nothing: five that all change to the same side do so by
luck once in sixteen times."""


class Pairs(NamedTuple):
    """Every checkpoint against every other, over the docs that both have."""

    difference: Values
    """[S, S] mean of the second less that of the first, in the mean's own unit."""
    p_value: Values
    """[S, S] two-sided."""
    gain_interval: Interval
    """95 %, of the last less the first."""
    flips: Flips | None
    """First against last; None where a doc is more than right or wrong."""
    n: int
    fewest: int
    """Docs below which nothing can be said."""

    @property
    def too_few(self) -> bool:
        return self.n < self.fewest


@dataclass(frozen=True, slots=True)
class CurveProgress:
    """What one figure shows over a series; checkpoints are named by their place, 0 .. S - 1."""

    best: int
    worst: int
    gain: float
    """Last less first, in the means' own unit."""
    gain_interval: Interval
    """95 %, paired."""
    gain_p: float
    as_good: tuple[int, ...]
    """Those that cannot be told from the best (paired tests, Holm's adjustment over all pairs of checkpoints,
    since the best is chosen among all), the best among them."""
    plateau_since: int | None
    """The earliest checkpoint that none after it beats at 95 %, if at least `FEWEST_LATER` come after it;
    None with too few docs to tell."""
    regressed: bool
    """Whether the last is worse than the best, at 95 %."""
    improved: bool
    """Whether the last is better than the first, at 95 %."""
    too_few_docs: bool = False
    """Whether there are too few docs to say any of this: nothing is called improved, worse or a plateau."""


def compare_all(values: Values, weights: Values, strata: npt.NDArray[np.int64] | None = None) -> Pairs:
    """Compare every pair of checkpoints, by the tests by which `compare` compares two models.

    Right-or-wrong answers that all count alike are compared by McNemar's exact test, anything else as in
    `mean_test`.

    Args:
        values: [S, D] finite.
        weights: [D] positive.
        strata: [D] tasks of a group that do not all weigh by their docs.
    """
    import numpy as np

    n = values.shape[1]
    binary = bool(((values == 0) | (values == 1)).all())
    if binary and np.ptp(weights) == 0:
        mean = values.mean(axis=1)
        both = values @ values.T
        right = values.sum(axis=1)
        lost, gained = right[:, None] - both, right[None, :] - both
        first_last = Flips(int(lost[0, -1]), int(gained[0, -1]))
        return Pairs(
            difference=mean[None, :] - mean[:, None],
            p_value=_mcnemar(lost, gained),
            gain_interval=proportions_interval(first_last, n),
            flips=first_last,
            n=n,
            fewest=FEWEST_ANSWERS,
        )
    found = compare_pairs(values, weights, strata)
    return Pairs(
        difference=found.mean,
        p_value=p_values(found),
        gain_interval=mean_interval(found.pair(0, len(values) - 1), ALPHA),
        flips=None,
        n=n,
        fewest=FEWEST_ANSWERS if binary and strata is not None else FEWEST_DOCS,
    )


def curve_progress(pairs: Pairs, *, higher_is_better: bool) -> CurveProgress:
    """What the comparisons say about a series of at least two checkpoints."""
    import numpy as np

    sign = 1.0 if higher_is_better else -1.0
    better = pairs.difference * sign
    """[i, j] by how much j is better than i"""
    standing = better[0]
    best, worst = int(standing.argmax()), int(standing.argmin())
    apart = _adjusted(np.asarray(pairs.p_value))[best] < ALPHA
    told_apart = {place for place in range(len(better)) if apart[place] and better[best, place] < 0}
    as_good = tuple(place for place in range(len(better)) if place not in told_apart)
    return CurveProgress(
        best=best,
        worst=worst,
        gain=float(pairs.difference[0, -1]),
        gain_interval=pairs.gain_interval,
        gain_p=float(pairs.p_value[0, -1]),
        as_good=as_good,
        plateau_since=None if pairs.too_few else _plateau(better, np.asarray(pairs.p_value)),
        regressed=len(better) - 1 in told_apart,
        improved=bool(better[0, -1] > 0 and pairs.p_value[0, -1] < ALPHA),
        too_few_docs=pairs.too_few,
    )


def _adjusted(p_value: Values) -> Values:
    """[S, S] Holm's adjustment over all pairs, as `paired.holm`."""
    import numpy as np

    above = np.triu_indices(len(p_value), k=1)
    p = p_value[above]
    order = p.argsort(kind="stable")
    raised = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    adjusted = np.ones_like(p_value)
    adjusted[above[0][order], above[1][order]] = raised
    symmetric: Values = np.minimum(adjusted, adjusted.T)
    return symmetric


def _plateau(better: Values, p_value: Values) -> int | None:
    size = len(better)
    for place in range(size - FEWEST_LATER):
        later = list(range(place + 1, size))
        adjusted = holm(p_value[place, later].tolist())
        if not any(p < ALPHA and better[place, one] > 0 for one, p in zip(later, adjusted, strict=True)):
            return place
    return None


def _mcnemar(lost: Values, gained: Values) -> Values:
    """[S, S] as `paired.mcnemar`."""
    import numpy as np
    from scipy.special import bdtr

    changed = lost + gained
    fewer = np.minimum(lost, gained)
    p: Values = np.where(changed > 0, 2 * bdtr(fewer, np.maximum(changed, 1).astype(int), 0.5), 1.0)
    return np.minimum(1.0, p)


def weighted(parts: Sequence[tuple[Values, float]]) -> tuple[Values, Values, npt.NDArray[np.int64]]:
    """Several tasks set side by side: [S, D] values, [D] weights and [D] which task a doc is of.

    A doc that is not known (NaN) at some checkpoint is left out at all; the others of its task weigh more, so
    that the task's share in the mean stays what it is.
    """
    import numpy as np

    known = [np.isfinite(of_task).all(axis=0) for of_task, _ in parts]
    counts = [int(one.sum()) for one in known]
    values = np.concatenate([of_task[:, one] for (of_task, _), one in zip(parts, known, strict=True)], axis=1)
    each = [
        weight * one.size / max(1, count)
        for (_, weight), one, count in zip(parts, known, counts, strict=True)
    ]
    return values, np.repeat(each, counts), np.repeat(np.arange(len(parts)), counts)
