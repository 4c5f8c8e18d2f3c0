"""The smallest difference that McNemar's test shows is what bisection with scipy's quantiles comes to."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr, bdtrik, gammaln, xlog1py, xlogy

from milepost.analysis.mcnemar_power import POWER, mcnemar_power, smallest_of_shares

levels = st.sampled_from([0.05, 0.05 / 3, 0.05 / 57, 1e-5])


def power(difference: float, churn: float, n: int, alpha: float) -> float:
    """The sum over all numbers of changes, each with its own quantile."""
    changed = np.arange(n + 1)
    log_probability = (
        gammaln(n + 1)
        - gammaln(changed + 1)
        - gammaln(n - changed + 1)
        + xlogy(changed, churn)
        + xlog1py(n - changed, -churn)
    )
    most = np.floor(bdtrik(alpha / 2, changed, 0.5))
    most = np.where(2 * bdtr(np.maximum(most, 0), changed, 0.5) < alpha, most, most - 1)
    lost = (churn - difference) / (2 * churn)
    found = np.where(most >= 0, bdtr(np.maximum(most, 0), changed, lost), 0.0)
    return float((np.exp(log_probability) * found).sum())


def bisected(lost: int, gained: int, n: int, alpha: float) -> float:
    churn = (lost + gained + 2) / (n + 2)
    if power(1.0, 1.0, n, alpha) < POWER:
        return math.inf
    low, high = 0.0, 1.0
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        if power(middle, max(churn, middle), n, alpha) < POWER:
            low = middle
        else:
            high = middle
    return high


@settings(max_examples=60)
@given(st.integers(1, 600), st.floats(0, 1), st.floats(0, 1), levels)
def test_newtons_steps_end_where_bisection_does(n: int, changing: float, losing: float, alpha: float) -> None:
    changed = round(n * changing)
    lost = round(changed * losing)
    assert smallest_of_shares(lost, changed - lost, n, alpha) == bisected(lost, changed - lost, n, alpha)


@settings(max_examples=60)
@given(st.integers(1, 600), st.floats(0.01, 1), st.floats(0.01, 1), levels)
def test_the_power_is_the_sum_over_all_numbers_of_changes_that_are_likely(
    n: int, churn: float, part: float, alpha: float
) -> None:
    ours = mcnemar_power(part * churn, churn, n, alpha)
    assert math.isclose(ours, power(part * churn, churn, n, alpha), abs_tol=1e-5)
