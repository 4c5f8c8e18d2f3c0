"""Compute 95 % intervals of metrics from their values and standard errors.

Their coverage is 93 to 97 %, or more if docs are few or nearly all right or wrong; the tests compute it
exactly for shares of 1 to 5,000 docs and simulate it for groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from milepost.analysis.metric_kinds import is_percentage, is_proportion, is_ratio_scale, value_range
from milepost.analysis.student_t import t_quantile

Z95 = 1.96
"""Half-width in standard errors, rounded as in the usual "± 1.96 stderr"."""

MANY = 40
"""Right docs, and wrong docs, from which on ± 1.96 stderr covers a share in at least 93 of 100 cases."""


class Interval(NamedTuple):
    """Ends of a 95 % interval in the metric's unit; both None if no interval can be given."""

    low: float | None
    high: float | None


class Member(NamedTuple):
    """One task's part in a group's metric."""

    value: float
    stderr: float | None
    n: int
    """Number of docs."""
    weight: float
    """The task's share in the group's metric; the shares of all members add up to 1."""


NO_INTERVAL = Interval(None, None)


def wilson(share: float, n: float, *, corrected: bool = False) -> Interval:
    """Compute the Wilson score interval of a proportion: inside [0, 1], with some width even at 0 and 1.

    Args:
        share: proportion of successes, 0 to 1.
        n: trials, at least 1; for a mean of proportions, the number of trials that would have its error.
        corrected: with correction for continuity, which covers at least 95 % at any n; the plain interval
            covers 95 % on average and as little as 80 % of single docs.

    Sources: E. B. Wilson, JASA 22 (1927), 209-212; recommended over ±1.96 stderr for shares near the edges
    by Brown, Cai and DasGupta, Statistical Science 16 (2001), 101-133; with and without correction in
    R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872 (methods 4 and 3). For the mean of scores
    between 0 and 1 that are not all 0 or 1 it errs on the wide side: a coin has the most variance.
    """
    z2, other = Z95 * Z95, 1 - share
    if corrected:
        below = z2 - 2 - 1 / n + 4 * share * (n * other + 1)
        above = z2 + 2 - 1 / n + 4 * share * (n * other - 1)
        low = (2 * n * share + z2 - 1 - Z95 * math.sqrt(max(0.0, below))) / (2 * (n + z2))
        high = (2 * n * share + z2 + 1 + Z95 * math.sqrt(max(0.0, above))) / (2 * (n + z2))
    else:
        centre = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = Z95 / (1 + z2 / n) * math.sqrt(share * other / n + z2 / (4 * n * n))
        low, high = centre - half, centre + half
    return Interval(min(share, max(0.0, low)), max(share, min(1.0, high)))


def interval(
    metric: str,
    value: float | None,
    stderr: float | None,
    n: int,
    *,
    pooled: bool = False,
    doc_range: tuple[float, float] | None = None,
) -> Interval:
    """Compute the 95 % interval of one metric.

    - A share of docs answered right (recognised by the metric's name, or because its stderr is that of docs
      which are all 0 or 1): `value ± 1.96 stderr`, as readers of lm_eval's tables compute it (Miller,
      "Adding Error Bars to Evals", arXiv 2411.00640, section 2.1), if at least `MANY` docs are right and
      `MANY` are wrong; else Wilson's interval with correction for continuity, which keeps its coverage.
      squadv2's shares are in percent, and so are their intervals.
    - A perplexity: on the log scale, so that it is never below 0 (nor 1); its stderr is taken as that of a
      lognormal value.
    - Any other metric: `value ± t stderr` with Student's t of n - 1 degrees of freedom, cut at the ends of
      the metric's range, and at 0 and 1 if the docs' values do not go beyond. No interval without a positive
      stderr.

    Args:
        metric: lm_eval's name of the metric.
        value: value of the metric; None if the model gave no number.
        stderr: lm_eval's standard error; None if it has none ("N/A").
        n: number of docs.
        pooled: the metric is of a group whose tasks are not known (else see `group_interval`). It may weigh
            them unevenly, so without stderr its error is unknown: no interval.
        doc_range: the lowest and the highest of the docs' values, if known.
    """
    if value is None:
        return NO_INTERVAL
    if is_percentage(metric) and (doc_range is None or doc_range[1] != 1.0):
        shares = interval("acc", value / 100, stderr and stderr / 100, n, pooled=pooled)
        return Interval(*(end and 100 * end for end in shares))
    lowest, highest = _range(metric, doc_range)
    share = _is_share(metric, value, stderr, n) and not (pooled and stderr is None)
    if share and (not stderr or not _many(value, n)):
        return wilson(value, n, corrected=True)
    if stderr is None or stderr <= 0:
        return NO_INTERVAL
    if is_ratio_scale(metric) and value > 0:
        return _of_perplexity(value, stderr, n, lowest)
    return _around(value, (Z95 if share else _t(n)) * stderr, lowest, highest)


def group_interval(metric: str, value: float, stderr: float | None, members: Sequence[Member]) -> Interval:
    """Compute the 95 % interval of a group's metric from its tasks.

    Shares of right answers: with `MANY` right and `MANY` wrong docs, `value ± 1.96 stderr`. If every doc
    counts the same, Wilson's interval of all docs with correction for continuity (docs of different tasks
    vary less than a binomial). Else each task's variance is that of its share with one right and one wrong
    doc added (A. Agresti and B. Caffo, The American Statistician 54 (2000), 280-288), or that of the group's
    share if it is larger, so that a small task that is all right or all wrong is not taken as exact. The
    interval joins Wilson's for as many docs as would have this variance with the combination of the tasks'
    intervals (MOVER: G. Y. Zou and A. Donner, Statistics in Medicine 27 (2008), 1693-1702).

    Other metrics: `value ± t stderr`, degrees of freedom after Satterthwaite.
    """
    n = sum(member.n for member in members)
    if not is_proportion(metric) or any(not 0 <= member.value <= 1 or member.n < 1 for member in members):
        if stderr is None or stderr <= 0 or is_ratio_scale(metric):
            return interval(metric, value, stderr, n, pooled=True)
        lowest, highest = value_range(metric)
        return _around(value, t_quantile(_satterthwaite(members)) * stderr, lowest, highest)
    # Sums of shares may exceed 1 by rounding.
    return _share_of_group_interval(min(1.0, max(0.0, value)), n, stderr, members)


def _share_of_group_interval(
    value: float, n: int, stderr: float | None, members: Sequence[Member]
) -> Interval:
    equal_docs = 1 / sum(member.weight**2 / member.n for member in members)
    common = (value * equal_docs + 1) / (equal_docs + 2)
    variance = math.fsum(
        member.weight**2 * max(_coin(member.value, member.n), common * (1 - common)) / member.n
        for member in members
    )
    docs = min(n, common * (1 - common) / variance)
    if stderr is not None and stderr > 0 and _many(value, docs):
        return _around(value, Z95 * stderr, 0.0, 1.0)
    if all(math.isclose(member.weight * n, member.n, rel_tol=1e-6) for member in members):
        return wilson(value, n, corrected=True)
    joined = wilson(value, docs, corrected=True)
    below, above = _combined_halves(members)
    assert joined.low is not None
    assert joined.high is not None
    return Interval(max(0.0, min(joined.low, value - below)), min(1.0, max(joined.high, value + above)))


def _combined_halves(members: Sequence[Member]) -> tuple[float, float]:
    """Return the lower and the upper half of the tasks' intervals, combined as in MOVER."""
    below = above = 0.0
    for member in members:
        low, high = wilson(member.value, member.n, corrected=True)
        assert low is not None
        assert high is not None
        below += (member.weight * (member.value - low)) ** 2
        above += (member.weight * (high - member.value)) ** 2
    return math.sqrt(below), math.sqrt(above)


def _around(value: float, half: float, lowest: float, highest: float) -> Interval:
    return Interval(min(value, max(value - half, lowest)), max(value, min(value + half, highest)))


def _coin(share: float, n: int) -> float:
    """Return the variance of one doc, with one right and one wrong doc added."""
    added = (share * n + 1) / (n + 2)
    return added * (1 - added)


def _satterthwaite(members: Sequence[Member]) -> float:
    variances = [(member.weight * (member.stderr or 0.0)) ** 2 for member in members]
    by_df = math.fsum(
        variance**2 / max(1, member.n - 1) for variance, member in zip(variances, members, strict=True)
    )
    df = math.fsum(variances) ** 2 / by_df if by_df > 0 else sum(member.n - 1 for member in members)
    return max(1.0, df)


def _is_share(metric: str, value: float, stderr: float | None, n: int) -> bool:
    """Return whether docs are right or wrong: then the stderr of their mean follows from the mean."""
    if n < 1 or not 0 <= value <= 1:
        return False
    if stderr is None or stderr == 0 or n == 1:
        return is_proportion(metric) or (stderr == 0 and value in (0, 1) and math.isinf(_width(metric)))
    expected = value * (1 - value) / (n - 1)
    whole = abs(value * n - round(value * n)) < 1e-6 * max(1.0, value * n)
    return whole and math.isclose(stderr**2, expected, rel_tol=1e-6, abs_tol=1e-15)


def _many(share: float, n: float) -> bool:
    return min(share, 1 - share) * n >= MANY - 1e-6


def _t(n: int) -> float:
    return t_quantile(n - 1) if 2 <= n <= 1_000 else Z95


def _of_perplexity(value: float, stderr: float, n: int, lowest: float) -> Interval:
    """Compute the interval of a lognormal value, whose stderr is value sqrt(u (u - 1)) with u = exp(s²)."""
    ratio = (
        stderr / value * math.sqrt(n / (n - 1) if n > 1 else 1.0)
    )  # n docs spread less than their population
    spread = math.sqrt(math.log((1 + math.sqrt(1 + 4 * ratio**2)) / 2))
    half = min(_t(n) * spread, 700.0)
    high = value * math.exp(half) if math.log(value) + half < 700 else math.inf
    return (
        Interval(min(value, max(lowest, value * math.exp(-half))), high) if high < math.inf else NO_INTERVAL
    )


def _range(metric: str, doc_range: tuple[float, float] | None) -> tuple[float, float]:
    lowest, highest = value_range(metric, doc_range or ())
    if doc_range is not None and math.isinf(_width(metric)):
        low, high = doc_range
        lowest = max(lowest, 0.0) if low >= 0 else lowest
        highest = min(highest, 1.0) if low >= 0 and high <= 1 else highest
    return lowest, highest


def _width(metric: str) -> float:
    lowest, highest = value_range(metric)
    return highest - lowest
