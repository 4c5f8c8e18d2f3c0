"""Test the difference between two models on the same docs: p-values, intervals, smallest visible difference.

Pairing makes small differences visible: two models find the same docs hard, and only docs on which they
differ say which is better. Differences are always `other - original`.

D is the number of docs, aligned: element i of both arrays is the same doc.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from milepost.analysis.doc_values import Transform, identity
from milepost.analysis.intervals import NO_INTERVAL, Z95, Interval
from milepost.analysis.mcnemar_power import POWER, smallest_of_shares
from milepost.analysis.mean_differences import (
    Differences,
    differences,
    differences_of_shares,
    mean_interval,
    p_values,
    reach,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

ALPHA = 0.05
"""Allowed share of false alarms among verdicts where there is no difference."""


class Flips(NamedTuple):
    """Numbers of docs that changed sides between two models."""

    lost: int
    """Right for the original, wrong for the other."""
    gained: int
    """Wrong for the original, right for the other."""


class Paired(NamedTuple):
    """Result of a paired comparison, `other - original`."""

    difference: float
    """In the metric's unit."""
    interval: Interval
    """95 % interval of the difference."""
    p_value: float
    """Two-sided p-value of "both are equally good"; not adjusted for other tests."""
    smallest: float
    """The smallest true difference that such docs show in four of five samples; infinite if they cannot show
    any."""


# ---- right or wrong ------------------------------------------------------------------------------------


def flips(original: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> Flips:
    """Count the docs ([D] right or not) that only one of the models answers right."""
    return Flips(int((original & ~other).sum()), int((other & ~original).sum()))


def mcnemar(lost: int, gained: int) -> float:
    """Return the exact two-sided p-value of McNemar's test; 1 if no doc changed sides.

    If both models are equally good, each doc that changed sides is a fair coin: a binomial test of `lost`
    against `gained`. It never errs more often than its level. Source: Q. McNemar, Psychometrika 12
    (1947), 153-157; the exact form in A. Agresti, Categorical Data Analysis, 3rd ed., section 11.1.1.
    """
    return float(mcnemar_matrix(lost, gained))


def mcnemar_matrix(lost: npt.ArrayLike, gained: npt.ArrayLike) -> Values:
    """Return the p-values of `mcnemar` for arrays of counts."""
    import numpy as np
    from scipy.special import bdtr

    lost, gained = np.asarray(lost), np.asarray(gained)
    changed = np.maximum(lost + gained, 1).astype(int)
    p: Values = np.where(lost + gained > 0, 2 * bdtr(np.minimum(lost, gained), changed, 0.5), 1.0)
    return np.minimum(1.0, p)


def proportions_interval(changed: Flips, n: int) -> Interval:
    """Return the 95 % interval of the difference of two shares measured on the same `n` docs.

    Bonett and Price's adjusted Wald interval (D. G. Bonett and R. M. Price, Journal of Educational and
    Behavioral Statistics 37 (2012), 479-488): one doc is added to each way of changing sides. Unlike the
    plain Wald interval, it keeps its coverage at small n and has some width even if no doc changed sides. It
    always contains 0 if McNemar's exact test, which decides, finds no difference.
    """
    lost, gained, docs = changed.lost + 1, changed.gained + 1, n + 2
    centre = (gained - lost) / docs
    half = Z95 * _proportions_stderr(changed, n)
    observed = (changed.gained - changed.lost) / n
    contained = [observed, max(-1.0, centre - half), min(1.0, centre + half)]
    if mcnemar(*changed) >= ALPHA:
        contained.append(0.0)
    return Interval(min(contained), max(contained))


def compare_right(
    original: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_], *, alpha: float = ALPHA
) -> Paired:
    """Compare right and wrong answers ([D] each, D >= 1): exact McNemar, Bonett and Price's interval.

    Args:
        alpha: level for `smallest`: 0.05 over the number of tests for Holm's adjustment.
    """
    n, changed = len(original), flips(original, other)
    return Paired(
        difference=(changed.gained - changed.lost) / n,
        interval=proportions_interval(changed, n),
        p_value=mcnemar(*changed),
        smallest=smallest_of_shares(*changed, n, alpha),
    )


def _proportions_stderr(changed: Flips, n: int) -> float:
    lost, gained, docs = changed.lost + 1, changed.gained + 1, n + 2
    centre = (gained - lost) / docs
    return math.sqrt(((lost + gained) / docs - centre * centre) / docs)


# ---- any other metric ----------------------------------------------------------------------------------


def paired_means(
    original: Values,
    other: Values,
    *,
    weights: Values | None = None,
    strata: npt.NDArray[np.int64] | None = None,
    transform: Transform = identity,
    alpha: float = ALPHA,
) -> Paired:
    """Compare two models' mean, or a monotone function of it such as a perplexity: see `mean_differences`.

    Tests and intervals are computed on means (for a perplexity: mean log-likelihoods, a log scale) and
    converted to the metric's unit, starting at the original. With fewer docs than
    `mean_differences.FEWEST_DOCS`: no interval, and p = 1.

    Args:
        original, other: [D] finite values, D >= 1.
        weights: [D] positive weights of docs in the mean (words, for a perplexity per word); default equal.
        strata: [D] the task of each doc, if tasks have weights (a group whose tasks count the same).
        transform: from a mean to the reported metric; works on arrays.
        alpha: level for `smallest`.
    """
    import numpy as np

    both = np.stack([original, other])
    weights = np.ones(len(original)) if weights is None else weights
    found = compare_pairs(both, weights, strata).pair(0, 1)
    before = float(np.average(original, weights=weights))
    interval = mean_interval(found, ALPHA)
    if interval.low is not None and interval.high is not None:
        interval = _in_unit(interval, before, transform)
    moved = float(found.mean[0, 0])
    far = math.copysign(reach(found, alpha, POWER), moved)
    with np.errstate(over="ignore"):
        smallest = abs(float(transform(before + far) - transform(before))) if math.isfinite(far) else math.inf
        difference = float(transform(before + moved) - transform(before))
    return Paired(difference, interval, float(p_values(found)[0, 0]), smallest)


def compare_pairs(values: Values, weights: Values, strata: npt.NDArray[np.int64] | None) -> Differences:
    """Compare every pair of models, by `differences_of_shares` if that fits, else by `differences`.

    Args:
        values: [S, D] finite values.
        weights: [D] positive weights.
        strata: [D] the task of each doc if docs do not all weigh the same, else None.
    """
    if strata is not None and bool(((values == 0) | (values == 1)).all()):
        return differences_of_shares(values, weights, strata)
    return differences(values, weights, strata)


def _in_unit(interval: Interval, before: float, transform: Transform) -> Interval:
    import numpy as np

    with np.errstate(over="ignore"):
        ends = [float(transform(before + end) - transform(before)) for end in interval if end is not None]
    return Interval(min(ends), max(ends)) if all(map(math.isfinite, ends)) else NO_INTERVAL


# ---- many tests at once --------------------------------------------------------------------------------


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the same order.

    With the adjusted values, the chance of any false alarm at 0.05 stays below 0.05, however the tests depend
    on each other.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    adjusted = [1.0] * len(p_values)
    so_far = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = so_far
    return adjusted
