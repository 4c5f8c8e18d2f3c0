"""What a series shows: first to last, best and worst, and what of it is more than luck.

All checkpoints answer the same docs, so they are compared doc by doc. The best of many checkpoints looks
better than it is; so it comes with all those that the docs do not tell from it. Pure: arrays in, statements
out.

Shapes: S checkpoints by step, D docs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from milepost.analysis.intervals import NO_INTERVAL, Z95, Interval
from milepost.analysis.paired import ALPHA, Flips, holm, proportions_interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

FEWEST_LATER = 3
"""So many checkpoints without improvement make a plateau."""


class Pairs(NamedTuple):
    """Every checkpoint against every other, over the docs that both have."""

    difference: Values
    """[S, S] mean of the second less that of the first, in the mean's own unit."""
    stderr: Values
    """[S, S]"""
    p_value: Values
    """[S, S] two-sided."""
    flips: Flips | None
    """First against last; None where a doc is more than right or wrong."""
    n: int


@dataclass(frozen=True, slots=True)
class Progress:
    """What one figure shows over a series; checkpoints are named by their place, 0 .. S - 1."""

    best: int
    worst: int
    gain: float
    """Last less first, in the means' own unit."""
    gain_interval: Interval
    """95 %, paired."""
    gain_p: float
    as_good: tuple[int, ...]
    """Those that cannot be told from the best (paired tests, Holm's adjustment), the best among them."""
    plateau_since: int | None
    """The earliest checkpoint that none after it beats at 95 %, if at least `FEWEST_LATER` come after it."""
    regressed: bool
    """Whether the last is worse than the best, at 95 %."""
    improved: bool
    """Whether the last is better than the first, at 95 %."""


def compare_all(values: Values, weights: Values) -> Pairs:
    """Compare every pair of checkpoints.

    Right-or-wrong answers that all count alike are compared by McNemar's exact test, anything else by the
    mean of the differences over its standard error (Miller, arXiv 2411.00640, section 4.2).

    Args:
        values: [S, D] finite.
        weights: [D] positive.
    """
    import numpy as np

    share = weights / weights.sum()
    mean = values @ share
    n = values.shape[1]
    # The variance of each difference, from one matrix of products of what is left when means are taken away.
    left = (values - mean[:, None]) * share
    products = left @ left.T
    own = np.diag(products)
    variance = np.maximum(own[:, None] + own[None, :] - 2 * products, 0.0) * n / max(n - 1, 1)
    difference, stderr = mean[None, :] - mean[:, None], np.sqrt(variance)
    if ((values == 0) | (values == 1)).all() and np.ptp(weights) == 0:
        both = values @ values.T
        right = values.sum(axis=1)
        lost, gained = right[:, None] - both, right[None, :] - both
        first_last = Flips(int(lost[0, -1]), int(gained[0, -1]))
        return Pairs(difference, stderr, _mcnemar(lost, gained), first_last, n)
    return Pairs(difference, stderr, _two_sided(difference, stderr), None, n)


def progress(pairs: Pairs, *, higher_is_better: bool) -> Progress:
    """What the comparisons say about a series of at least two checkpoints."""
    import numpy as np

    sign = 1.0 if higher_is_better else -1.0
    better = pairs.difference * sign
    """[i, j] by how much j is better than i"""
    standing = better[0]
    best, worst = int(standing.argmax()), int(standing.argmin())
    others = [place for place in range(len(better)) if place != best]
    adjusted = holm(pairs.p_value[best, others].tolist())
    told_apart = {
        place for place, p in zip(others, adjusted, strict=True) if p < ALPHA and better[best, place] < 0
    }
    as_good = tuple(place for place in range(len(better)) if place not in told_apart)
    return Progress(
        best=best,
        worst=worst,
        gain=float(pairs.difference[0, -1]),
        gain_interval=_gain_interval(pairs),
        gain_p=float(pairs.p_value[0, -1]),
        as_good=as_good,
        plateau_since=_plateau(better, np.asarray(pairs.p_value)),
        regressed=len(better) - 1 in told_apart,
        improved=bool(better[0, -1] > 0 and pairs.p_value[0, -1] < ALPHA),
    )


def _plateau(better: Values, p_value: Values) -> int | None:
    size = len(better)
    for place in range(size - FEWEST_LATER):
        later = list(range(place + 1, size))
        adjusted = holm(p_value[place, later].tolist())
        if not any(p < ALPHA and better[place, one] > 0 for one, p in zip(later, adjusted, strict=True)):
            return place
    return None


def _gain_interval(pairs: Pairs) -> Interval:
    if pairs.flips is not None:
        return proportions_interval(pairs.flips, pairs.n)
    if pairs.n < 2:
        return NO_INTERVAL
    gain, half = float(pairs.difference[0, -1]), Z95 * float(pairs.stderr[0, -1])
    return Interval(gain - half, gain + half)


def _mcnemar(lost: Values, gained: Values) -> Values:
    """[S, S] as `paired.mcnemar`."""
    import numpy as np
    from scipy.special import bdtr

    changed = lost + gained
    fewer = np.minimum(lost, gained)
    p: Values = np.where(changed > 0, 2 * bdtr(fewer, np.maximum(changed, 1).astype(int), 0.5), 1.0)
    return np.minimum(1.0, p)


def _two_sided(difference: Values, stderr: Values) -> Values:
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.abs(difference) / stderr
    z = np.where(difference == 0, 0.0, z)  # also where nothing differs
    p: Values = np.vectorize(math.erfc, otypes=[np.float64])(z / math.sqrt(2))  # scipy: a third of a second
    return p


def weighted(parts: Sequence[tuple[Values, float]]) -> tuple[Values, Values]:
    """[S, D] and [D] of several tasks set side by side, a task's docs all weighing the same.

    A doc that is not known (NaN) at some checkpoint is left out at all; the others of its task weigh more, so
    that the task's share in the mean stays what it is.
    """
    import numpy as np

    kept, weights = [], []
    for of_task, weight in parts:
        known = np.isfinite(of_task).all(axis=0)
        if known.any():
            kept.append(of_task[:, known])
            weights.append(np.full(int(known.sum()), weight * known.size / known.sum()))
    if not kept:
        return np.empty((len(parts[0][0]), 0)), np.empty(0)
    return np.concatenate(kept, axis=1), np.concatenate(weights)
