"""Test paired differences of means over docs, for many pairs of models at once: p-values, intervals, power.

Student's t is right for many docs, and for few docs with symmetric differences. With few docs and skewed
differences (one doc that a model finds impossible) it errs too often. So each p-value is the larger one of
Student's and of Student's with Hall's correction for skewness (P. Hall, Journal of the Royal Statistical
Society B 54 (1992), 221-228), both with fewer degrees of freedom at few docs, and never smaller than the
p-value of a sign test in which all differing docs go one way. Intervals contain what these tests do not
reject. All tails are formulas (no resampling), so that Holm's adjustment can use very small p-values.

`benchmarks/coverage.py` counts false alarms: at most 4.5 % at the level of 5 % from `FEWEST_DOCS` docs on,
for normal, heavy-tailed (t3), mostly equal and exponentially skewed differences.

Shapes: S models, D docs. Element [i, j] of a matrix is model j minus model i.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, NamedTuple

from milepost.analysis.intervals import NO_INTERVAL, Interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

FEWEST_DOCS = 10
"""Fewest docs for a statement about values that are not just right or wrong: fewer docs do not show the shape
of the distribution, and every test errs for some shape."""

_SMALL_SAMPLE = 10.0
"""Degrees of freedom are divided by 1 + this / D: skewed differences keep their level from 15 docs on, and
symmetric ones lose a tenth of their power at 20 docs."""

_ENOUGH = 64
"""Differing docs; more of them do not limit a p-value."""

_FIRST_COLUMNS = 2_000


class Differences(NamedTuple):
    """Mean differences over docs of every pair of models, with their uncertainty."""

    mean: Values
    """[S, S] weighted mean of the differences."""
    centre: Values
    """[S, S] centre of the interval: `mean`, or for right-or-wrong answers of several tasks a value shrunk
    towards 0."""
    stderr: Values
    """[S, S] standard error."""
    skewness: Values
    """[S, S] skewness of the mean: third cumulant over the cube of the standard error."""
    df: Values
    """[S, S] degrees of freedom."""
    differing: npt.NDArray[np.int64]
    """[S, S] number of docs with different values; exact up to `_ENOUGH`."""
    n: int
    """Number of docs."""

    @property
    def too_few(self) -> bool:
        """True if there are too few docs for any statement."""
        return self.n < FEWEST_DOCS

    def pair(self, first: int, second: int) -> Differences:
        """Return one pair, as matrices of 1 x 1."""
        place = (slice(first, first + 1), slice(second, second + 1))
        return Differences(
            mean=self.mean[place],
            centre=self.centre[place],
            stderr=self.stderr[place],
            skewness=self.skewness[place],
            df=self.df[place],
            differing=self.differing[place],
            n=self.n,
        )


def differences(values: Values, weights: Values, strata: npt.NDArray[np.int64] | None = None) -> Differences:
    """Compare every pair of models.

    Args:
        values: [S, D] finite values.
        weights: [D] positive weights of the docs in the mean; equal within a stratum.
        strata: [D] the task of each doc, if the number of docs of each task is fixed (a group whose tasks
            count the same). Their variances are added (Satterthwaite, Biometrics Bulletin 2 (1946), 110-114,
            for the degrees of freedom). A task of a single doc gets the variance of the other tasks.
    """
    import numpy as np

    share = weights / weights.sum()
    mean = values @ share
    parts = [np.arange(values.shape[1])]
    if strata is not None:
        tasks = [np.flatnonzero(strata == task) for task in np.unique(strata)]
        if any(len(docs) > 1 for docs in tasks):
            parts = tasks
    found = [_part(values[:, part], share[part], None if len(parts) > 1 else mean) for part in parts]
    known = [part for part in found if part.n > 1]
    pooled = sum(part.squares for part in known) / max(1, sum(part.n - 1 for part in known))
    size = len(values)
    variance, third, by_df = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    for part in found:
        added = part.variance if part.n > 1 else part.share**2 * pooled
        variance += added
        third += part.third
        by_df += added**2 / max(1, part.n - 1)
    n = values.shape[1]
    df = np.divide(variance**2, by_df, out=np.full_like(variance, float(max(1, n - 1))), where=by_df > 0)
    stderr = np.sqrt(variance)
    skewness = np.divide(third, stderr**3, out=np.zeros_like(third), where=stderr > 0)
    difference = mean[None, :] - mean[:, None]
    return Differences(
        difference, difference, stderr, skewness, df / (1 + _SMALL_SAMPLE / n), _differing(values), n
    )


def differences_of_shares(right: Values, weights: Values, strata: npt.NDArray[np.int64]) -> Differences:
    """Compare every pair of models by right (1) or wrong (0) answers to several tasks with any weights.

    In each task, 1 / (number of tasks) is added to the docs lost and to the docs gained, as by R. M. Price
    and D. G. Bonett for linear functions of proportions (Computational Statistics and Data Analysis 45
    (2004), 449-456) and by D. G. Bonett and R. M. Price for paired proportions (see
    `paired.proportions_interval`). So a small task in which no doc changed sides is not taken as exact.
    """
    import numpy as np

    mean = right @ weights / weights.sum()
    difference = mean[None, :] - mean[:, None]
    tasks = np.unique(strata)
    added = 1 / len(tasks)
    centre, variance = np.zeros_like(difference), np.zeros_like(difference)
    for task in tasks:
        answers = right[:, strata == task]
        share = float(weights[strata == task].sum() / weights.sum())
        both, number = answers @ answers.T, answers.sum(axis=1)
        docs = answers.shape[1] + 2 * added
        lost = (number[:, None] - both + added) / docs
        gained = (number[None, :] - both + added) / docs
        centre += share * (gained - lost)
        variance += share**2 * (lost + gained - (gained - lost) ** 2) / docs
    n = right.shape[1]
    normal = np.full_like(difference, 1e9)
    return Differences(
        difference,
        centre,
        np.sqrt(variance),
        np.zeros_like(difference),
        normal,
        _differing(right),
        max(n, FEWEST_DOCS),  # the number of flips limits p-values, however few docs there are
    )


def p_values(of: Differences) -> Values:
    """Return [S, S] two-sided p-values of "both are equally good"; 1 with fewer than `FEWEST_DOCS` docs."""
    import numpy as np
    from scipy.special import stdtr

    if of.too_few:
        return np.ones_like(of.mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(of.stderr > 0, of.centre / of.stderr, np.where(of.centre == 0, 0.0, np.inf))
        corrected = np.where(np.isfinite(t), _corrected(t, of.skewness), t)
    weakest = np.minimum(np.abs(t), np.abs(corrected))
    p = np.maximum(2 * stdtr(of.df, -weakest), 2.0 ** (1.0 - np.minimum(of.differing, 1_000)))
    return np.where(of.mean == 0, 1.0, np.minimum(1.0, p))


def mean_interval(of: Differences, alpha: float) -> Interval:
    """Return the interval of one pair (a 1 x 1 matrix): the differences that the test does not reject."""
    from scipy.special import stdtrit

    if of.too_few:
        return NO_INTERVAL
    centre, stderr, skewness = float(of.centre[0, 0]), float(of.stderr[0, 0]), float(of.skewness[0, 0])
    t = float(stdtrit(float(of.df[0, 0]), 1 - alpha / 2))
    ends = [-t, t, _uncorrected(-t, skewness), _uncorrected(t, skewness)]
    observed = float(of.mean[0, 0])
    contained = [observed, *(centre - end * stderr for end in ends)]
    if float(p_values(of)[0, 0]) >= alpha:
        contained.append(0.0)
    return Interval(min(contained), max(contained))


def reach(of: Differences, alpha: float, power: float) -> float:
    """Return the smallest true difference that a pair's docs show with this power; inf with too few docs.

    Args:
        alpha: level of the test.
    """
    from scipy.special import stdtrit

    if of.too_few or 2.0 ** (1 - of.n) >= alpha:
        return math.inf
    df = float(of.df[0, 0])
    return float(stdtrit(df, 1 - alpha / 2) + stdtrit(df, power)) * float(of.stderr[0, 0])


class _Part(NamedTuple):
    """One stratum of `differences`."""

    n: int
    share: float
    """Weight in the whole mean."""
    squares: Values
    """[S, S] sums of squared deviations of docs, not weighted."""
    variance: Values
    """[S, S] addend to the variance of the mean."""
    third: Values
    """[S, S] addend to the third cumulant."""


def _part(values: Values, share: Values, mean: Values | None) -> _Part:
    """Sum squares and cubes of every difference, by products of deviations from the mean.

    Args:
        mean: [S] centre of the deviations; None for the plain mean of the docs.
    """
    import numpy as np

    n = values.shape[1]
    around = values.mean(axis=1) if mean is None else mean
    left = (values - around[:, None]) * share
    products = left @ left.T
    diagonal = np.diag(products)
    squares = np.maximum(diagonal[:, None] + diagonal[None, :] - 2 * products, 0.0)
    # Differences of about 1e-16 are rounding errors: the spread is 0.
    squares[squares < 1e-14 * (diagonal[:, None] + diagonal[None, :])] = 0.0
    cubes, mixed = (left**3).sum(axis=1), left**2 @ left.T
    third = cubes[None, :] - cubes[:, None] + 3 * (mixed - mixed.T)
    unbiased = n / (n - 1) if n > 1 else 1.0
    cubic = n * n / ((n - 1) * (n - 2)) if n > 2 else 0.0
    total = float(share.sum())
    return _Part(n, total, squares * (n / total) ** 2, squares * unbiased, third * cubic)


def _differing(values: Values) -> npt.NDArray[np.int64]:
    """Return [S, S] the number of docs with different values; exact up to `_ENOUGH`."""
    import numpy as np

    size = len(values)
    found = np.zeros((size, size), dtype=np.int64)
    first = values[:, :_FIRST_COLUMNS]
    for place in range(size):
        found[place] = np.count_nonzero(first != first[place], axis=1)
        rest = np.flatnonzero(found[place] < _ENOUGH)
        if values.shape[1] > _FIRST_COLUMNS and len(rest):
            found[place, rest] = np.count_nonzero(values[rest] != values[place], axis=1)
    return found


def _corrected(t: Values, skewness: Values) -> Values:
    """Apply Hall's transformation to Student's t; `skewness` is that of the mean."""
    return t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 6


def _uncorrected(corrected: float, skewness: float) -> float:
    """Return the t whose transformation is `corrected`."""
    if abs(skewness) < 1e-9:
        return corrected
    return 3 / skewness * (_cube_root(1 + skewness * (corrected - skewness / 6)) - 1)


def _cube_root(x: float) -> float:
    if sys.version_info >= (3, 11):  # more exact than a power, by the last digits
        return math.cbrt(x)
    return math.copysign(abs(x) ** (1 / 3), x)
