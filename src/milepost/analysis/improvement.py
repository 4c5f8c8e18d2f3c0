"""Compare the checkpoints of a series: gain, best, worst, plateau, and what of it is more than luck.

All checkpoints answer the same docs, so they are compared doc by doc. The best of many checkpoints looks
better than it is, so it is named together with all checkpoints that are not distinguishable from it.

Shapes: S checkpoints by step, D docs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from milepost.analysis.intervals import Interval
from milepost.analysis.mean_differences import FEWEST_DOCS, mean_interval, p_values
from milepost.analysis.paired import ALPHA, Flips, compare_pairs, holm, mcnemar_matrix, proportions_interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

FEWEST_LATER = 3
"""Checkpoints without improvement that make a plateau."""

FEWEST_ANSWERS = 6
"""Fewest right-or-wrong docs for any statement: five docs that all change to the same side do so by luck
once in sixteen times."""


class Pairs(NamedTuple):
    """Every checkpoint compared with every other, over the same docs."""

    difference: Values
    """[S, S] mean of the second minus mean of the first, in the unit of the mean."""
    p_value: Values
    """[S, S] two-sided."""
    gain_interval: Interval
    """95 % interval of the last minus the first."""
    flips: Flips | None
    """First against last; None unless docs are right or wrong."""
    n: int
    fewest: int
    """Fewest docs for any statement."""

    @property
    def too_few(self) -> bool:
        """True if there are too few docs for any statement."""
        return self.n < self.fewest


@dataclass(frozen=True, slots=True)
class CurveProgress:
    """The result for one curve; checkpoints are numbered 0 .. S - 1."""

    best: int
    worst: int
    gain: float
    """Last minus first, in the unit of the mean."""
    gain_interval: Interval
    """95 %, paired."""
    gain_p: float
    """Two-sided p-value of the gain."""
    as_good: tuple[int, ...]
    """The best checkpoint and those not distinguishable from it: paired tests with Holm's adjustment over all
    pairs of checkpoints, because the best is chosen among all."""
    plateau_since: int | None
    """The earliest checkpoint that no later one beats at 95 %, if at least `FEWEST_LATER` come after it; None
    with too few docs to tell."""
    regressed: bool
    """True if the last is worse than the best, at 95 %."""
    improved: bool
    """True if the last is better than the first, at 95 %."""
    too_few_docs: bool = False
    """True if there are too few docs: then nothing is called improved, worse or a plateau."""


def compare_all(values: Values, weights: Values, strata: npt.NDArray[np.int64] | None = None) -> Pairs:
    """Compare every pair of checkpoints, with the tests of `milepost compare`.

    Right-or-wrong answers with equal weights are compared by McNemar's exact test, other values as in
    `mean_differences`.

    Args:
        values: [S, D] finite values.
        weights: [D] positive weights.
        strata: [D] the task of each doc, for a group whose tasks do not weigh by their docs.
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
            p_value=mcnemar_matrix(lost, gained),
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
    """Summarise the comparisons of a series of at least two checkpoints."""
    import numpy as np

    sign = 1.0 if higher_is_better else -1.0
    better = pairs.difference * sign
    """[i, j] by how much j is better than i."""
    gains = better[0]
    best, worst = int(gains.argmax()), int(gains.argmin())
    differs = _adjusted(np.asarray(pairs.p_value))[best] < ALPHA
    worse = {place for place in range(len(better)) if differs[place] and better[best, place] < 0}
    as_good = tuple(place for place in range(len(better)) if place not in worse)
    return CurveProgress(
        best=best,
        worst=worst,
        gain=float(pairs.difference[0, -1]),
        gain_interval=pairs.gain_interval,
        gain_p=float(pairs.p_value[0, -1]),
        as_good=as_good,
        plateau_since=None if pairs.too_few else _plateau(better, np.asarray(pairs.p_value)),
        regressed=len(better) - 1 in worse,
        improved=bool(better[0, -1] > 0 and pairs.p_value[0, -1] < ALPHA),
        too_few_docs=pairs.too_few,
    )


def _adjusted(p_value: Values) -> Values:
    """Return [S, S] Holm's adjustment over all pairs, as `paired.holm`."""
    import numpy as np

    above = np.triu_indices(len(p_value), k=1)
    adjusted = np.ones_like(p_value)
    adjusted[above] = holm(p_value[above].tolist())
    symmetric: Values = np.minimum(adjusted, adjusted.T)
    return symmetric


def _plateau(better: Values, p_value: Values) -> int | None:
    size = len(better)
    for place in range(size - FEWEST_LATER):
        later = list(range(place + 1, size))
        adjusted = holm(p_value[place, later].tolist())
        if not any(p < ALPHA and better[place, other] > 0 for other, p in zip(later, adjusted, strict=True)):
            return place
    return None


def weighted(parts: Sequence[tuple[Values, float]]) -> tuple[Values, Values, npt.NDArray[np.int64]]:
    """Concatenate several tasks: return [S, D] values, [D] weights and [D] the task of each doc.

    A doc without a value (NaN) at some checkpoint is left out everywhere; the other docs of its task weigh
    more, so that the task's share in the mean stays the same.
    """
    import numpy as np

    known = [np.isfinite(of_task).all(axis=0) for of_task, _ in parts]
    counts = [int(docs.sum()) for docs in known]
    values = np.concatenate(
        [of_task[:, docs] for (of_task, _), docs in zip(parts, known, strict=True)], axis=1
    )
    doc_weights = [
        weight * docs.size / max(1, count)
        for (_, weight), docs, count in zip(parts, known, counts, strict=True)
    ]
    return values, np.repeat(doc_weights, counts), np.repeat(np.arange(len(parts)), counts)
