"""Compute how large a difference of two shares must be for McNemar's exact test to find it."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

POWER = 0.8
"""Power with which the smallest visible difference is found."""
_NORMAL = NormalDist()
_PRECISION = 1e-3
"""Precision of the smallest visible difference, as a share of it."""


@lru_cache(maxsize=4096)
def smallest_of_shares(lost: int, gained: int, n: int, alpha: float) -> float:
    """Return the smallest true difference of two shares that McNemar's exact test finds with power `POWER`.

    The share of docs that change sides is taken as measured (with one doc added on either side, as in the
    interval), or as large as the difference needs. Infinite if `n` docs cannot show any difference.

    It is what bisection from 0 to 1 comes to; Newton's method finds its last step sooner.

    Args:
        lost, gained: numbers of docs that changed sides.
        n: number of docs.
        alpha: level of the test.
    """
    churn = (lost + gained + 2) / (n + 2)
    if 2.0 ** (1 - n) >= alpha:
        return math.inf
    needed = _NORMAL.inv_cdf(POWER)
    low, high = 0.0, 1.0
    guess = min(0.5, (needed - _NORMAL.inv_cdf(alpha / 2)) * math.sqrt(churn / n))
    while True:
        below, above = _last_step(guess)
        at, power = above, mcnemar_power(above, max(churn, above), n, alpha)
        if power < POWER:
            low = above
        else:
            at, power = below, mcnemar_power(below, max(churn, below), n, alpha) if below else 0.0
            if power < POWER:
                return above
            high = below
        slope = math.sqrt(n / max(max(churn, at) - at * at, 1 / n))
        guess = at + (needed - _NORMAL.inv_cdf(min(max(power, 1e-9), 1 - 1e-9))) / slope
        if not low < guess < high:
            guess = (low + high) / 2


def mcnemar_power(difference: float, churn: float, n: int, alpha: float) -> float:
    """Return how often McNemar's exact test finds a true difference of two shares, 0 to 1.

    It is exact: a sum over the number of docs that change sides and the number of those that are lost (both
    binomial).

    Args:
        difference: difference of the shares, positive.
        churn: share of docs that change sides, at least `difference`.
        n: number of docs.
        alpha: level of the test.
    """
    from scipy.special import bdtr

    tests = _tests(n, churn, alpha)
    lost = (churn - difference) / (2 * churn)
    return float((tests.probability * bdtr(tests.most, tests.changed, lost)).sum())


class _Tests(NamedTuple):
    """Numbers of docs that may change sides, of which some difference would be found."""

    changed: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float64]
    """Probability of each number of changes."""
    most: npt.NDArray[np.int64]
    """The most of the changed docs that may be lost."""


@lru_cache(maxsize=16)
def _tests(n: int, churn: float, alpha: float) -> _Tests:
    import numpy as np
    from scipy.special import gammaln, xlog1py, xlogy

    spread = 8 * math.sqrt(n * churn * (1 - churn)) + 1
    changed = np.arange(max(0, math.floor(n * churn - spread)), min(n, math.ceil(n * churn + spread)) + 1)
    log_probability = (
        gammaln(n + 1)
        - gammaln(changed + 1)
        - gammaln(n - changed + 1)
        + xlogy(changed, churn)
        + xlog1py(n - changed, -churn)
    )
    most = _most_lost(changed, alpha)
    found = most >= 0
    return _Tests(changed[found], np.exp(log_probability)[found], most[found])


def _most_lost(changed: npt.NDArray[np.int64], alpha: float) -> npt.NDArray[np.int64]:
    """Return the most lost docs, of those that changed sides, with which the test finds a loss or a gain.

    -1 where it finds none.
    """
    import numpy as np
    from scipy.special import bdtr

    def is_found(lost: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = 2 * bdtr(np.maximum(lost, 0), changed, 0.5) < alpha
        return found & (lost >= 0)

    about = (changed - 1 + _NORMAL.inv_cdf(alpha / 2) * np.sqrt(changed)) / 2
    most = np.maximum(np.floor(about), -1).astype(np.int64)
    while (too_many := (most >= 0) & ~is_found(most)).any():
        most -= too_many
    while (more := is_found(most + 1)).any():
        most += more
    return most


def _last_step(place: float) -> tuple[float, float]:
    """Return the ends between which bisection from 0 to 1 would find a place: close enough to stop."""
    width = 1.0
    while True:
        below = math.floor(place / width) * width
        if width <= _PRECISION * (below + width):
            return below, below + width
        width /= 2
