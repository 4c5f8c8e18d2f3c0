"""Is the difference between two models real? Tests and intervals over what both answered, doc by doc.

Pairing is what makes small differences visible: two models find the same docs hard, and only the docs on
which they differ say anything about which is better. Knows arrays of values per doc; not where they come
from, and not which difference is an improvement. Differences are always `other - original`.

D is the number of docs, aligned: element i of both arrays is the same doc.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from milepost.analysis.doc_values import Transform, identity
from milepost.analysis.intervals import NO_INTERVAL, Z95, Interval
from milepost.analysis.mean_test import (
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
"""Share of wrong alarms that a verdict may give where there is no difference."""

POWER = 0.8
"""With which the smallest difference that docs can show is found."""


class Flips(NamedTuple):
    """How many docs changed sides between two models."""

    lost: int
    """Right for the original, wrong for the other."""
    gained: int
    """Wrong for the original, right for the other."""


class Paired(NamedTuple):
    """What the docs say about `other - original`."""

    difference: float
    """In the figure's own unit."""
    interval: Interval
    """95 %."""
    p_value: float
    """Two-sided, against "both are equally good"; not adjusted for other tests."""
    smallest: float
    """The smallest true difference that docs like these show in four of five such samples; infinite where
    they can show none."""


# ---- right or wrong ------------------------------------------------------------------------------------


def flips(original: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> Flips:
    """Docs ([D] right or not) that one model answers right and the other wrong."""
    return Flips(int((original & ~other).sum()), int((other & ~original).sum()))


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p-value of McNemar's test; 1 where no doc changed sides.

    Under "equally good", each doc that changed sides is a fair coin, whatever the others are: a binomial test
    of `lost` against `gained`. Never errs more often than its level. Source: Q. McNemar, Psychometrika 12
    (1947), 153-157; the exact form in A. Agresti, Categorical Data Analysis, 3rd ed., section 11.1.1.
    """
    from scipy.special import bdtr

    changed = lost + gained
    if changed == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(lost, gained), changed, 0.5)))


def proportions_interval(changed: Flips, n: int) -> Interval:
    """95 % interval of the difference of two shares measured on the same `n` docs.

    Bonett and Price's adjusted Wald interval (D. G. Bonett and R. M. Price, Journal of Educational and
    Behavioral Statistics 37 (2012), 479-488): one doc is added to each way of changing sides. It keeps its
    coverage at small n and has some width even where no doc changed sides, which the plain Wald interval
    has not. It always holds 0 where McNemar's exact test, which decides, finds no difference.
    """
    lost, gained, docs = changed.lost + 1, changed.gained + 1, n + 2
    centre = (gained - lost) / docs
    half = Z95 * _proportions_stderr(changed, n)
    observed = (changed.gained - changed.lost) / n
    held = [observed, max(-1.0, centre - half), min(1.0, centre + half)]
    if mcnemar(*changed) >= ALPHA:
        held.append(0.0)
    return Interval(min(held), max(held))


def compare_right(
    original: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_], *, alpha: float = ALPHA
) -> Paired:
    """Two models' right and wrong answers ([D] each, D >= 1): exact McNemar, Bonett and Price's interval.

    Args:
        alpha: level at which `smallest` is to be found: 0.05 over the number of tests for Holm's adjustment.
    """
    n, changed = len(original), flips(original, other)
    return Paired(
        difference=(changed.gained - changed.lost) / n,
        interval=proportions_interval(changed, n),
        p_value=mcnemar(*changed),
        smallest=smallest_of_shares(changed, n, alpha),
    )


def smallest_of_shares(changed: Flips, n: int, alpha: float = ALPHA) -> float:
    """The smallest true difference of two shares that McNemar's exact test finds in four of five samples.

    As many docs are taken to change sides as did here (one added to either side, as in the interval), or as
    the difference needs. The power is exact: summed over how many docs change sides (binomial) and over how
    many of those are lost (binomial as well). Infinite where `n` docs cannot show any difference.

    Args:
        n: docs.
        alpha: level of the test.
    """
    churn = (changed.lost + changed.gained + 2) / (n + 2)
    if mcnemar_power(1.0, 1.0, n, alpha) < POWER:
        return math.inf
    low, high = 0.0, 1.0
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        if mcnemar_power(middle, max(churn, middle), n, alpha) < POWER:
            low = middle
        else:
            high = middle
    return high


def mcnemar_power(difference: float, churn: float, n: int, alpha: float = ALPHA) -> float:
    """How often McNemar's exact test finds a true difference of two shares.

    Args:
        difference: of the shares, positive.
        churn: share of docs that change sides, at least `difference`.
        n: docs.
    """
    import numpy as np
    from scipy.special import bdtr, bdtrik, gammaln, xlog1py, xlogy

    spread = 8 * math.sqrt(n * churn * (1 - churn)) + 1
    number = np.arange(max(0, math.floor(n * churn - spread)), min(n, math.ceil(n * churn + spread)) + 1)
    log_of_number = (
        gammaln(n + 1)
        - gammaln(number + 1)
        - gammaln(n - number + 1)
        + xlogy(number, churn)
        + xlog1py(n - number, -churn)
    )
    # The most docs lost (or gained) of so many that change sides at which the test still finds a difference.
    most = np.floor(bdtrik(alpha / 2, number, 0.5))
    most = np.where(2 * bdtr(np.maximum(most, 0), number, 0.5) < alpha, most, most - 1)
    lost = (churn - difference) / (2 * churn)
    found = np.where(most >= 0, bdtr(np.maximum(most, 0), number, lost), 0.0)
    return float((np.exp(log_of_number) * found).sum())


def _proportions_stderr(changed: Flips, n: int) -> float:
    lost, gained, docs = changed.lost + 1, changed.gained + 1, n + 2
    centre = (gained - lost) / docs
    return math.sqrt(((lost + gained) / docs - centre * centre) / docs)


# ---- any other figure ----------------------------------------------------------------------------------


def paired_means(
    original: Values,
    other: Values,
    *,
    weights: Values | None = None,
    strata: npt.NDArray[np.int64] | None = None,
    transform: Transform = identity,
    alpha: float = ALPHA,
) -> Paired:
    """Compare two models' mean, or a monotone function of it such as a perplexity: see `mean_test`.

    Tests and intervals are made of means (of a perplexity: of log-likelihoods, so on a log scale) and taken
    to the figure's unit from where the original stands. With fewer than `mean_test.FEWEST_DOCS` docs nothing
    is said: no interval, p = 1.

    Args:
        original, other: [D] finite values, D >= 1.
        weights: [D] positive, how much each doc counts in the mean (words, for a perplexity per word); equal
            by default.
        strata: [D] which task a doc belongs to, where each has a weight of its own (a group whose tasks count
            alike).
        transform: from a mean to the reported metric; works on arrays.
        alpha: level at which `smallest` is to be found.
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
    """Every pair of models, by what fits their values: `mean_test.differences_of_shares` or `differences`.

    Args:
        values: [S, D] finite.
        weights: [D] positive.
        strata: [D] tasks, where their docs do not all weigh the same; else None.
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
    """Holm's adjusted p-values, in the order given: with all of them below 0.05 or not, the chance that any
    verdict is a wrong alarm stays below 0.05, however the tests depend on each other.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    adjusted = [1.0] * len(p_values)
    so_far = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = so_far
    return adjusted
