"""95 % intervals: the harness's stderr where that is fair, Wilson at the edges, never out of range."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.analysis.intervals import NO_INTERVAL, interval, wilson

SHARES = st.floats(0, 1)
DOCS = st.integers(1, 100_000)


def test_a_mean_has_1_96_standard_errors_on_either_side():
    assert interval("acc", 0.2511, 0.00366, 14042) == pytest.approx((0.2439264, 0.2582736))


def test_wilson_gives_the_published_intervals():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (score, no continuity correction).
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0 / 20, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1 / 29, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_an_accuracy_of_zero_or_one_still_has_an_interval():
    assert interval("acc", 0.0, 0.0, 100) == wilson(0.0, 100)
    assert interval("exact_match", 1.0, 0.0, 100) == wilson(1.0, 100)


def test_an_accuracy_whose_interval_would_leave_its_range_gets_wilsons():
    assert interval("acc_norm", 0.01, 0.00995, 101) == wilson(0.01, 101)


@given(SHARES, DOCS, st.just(0.0) | st.floats(1e-6, 0.5))
def test_the_interval_of_a_proportion_holds_its_value_and_stays_between_0_and_1(share, n, stderr):
    low, high = interval("acc", share, stderr, n)
    assert low is not None
    assert high is not None
    assert 0 <= low <= share <= high <= 1
    assert high > low


@given(SHARES, st.integers(2, 10_000))
def test_more_docs_never_widen_wilsons_interval(share, n):
    few, many = wilson(share, n), wilson(share, 2 * n)
    assert many.high - many.low <= few.high - few.low


@pytest.mark.parametrize("n", [20, 200])
@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.9])
def test_wilson_covers_the_true_share_about_95_times_in_100(share, n):
    covered = sum(
        math.comb(n, k) * share**k * (1 - share) ** (n - k)
        for k in range(n + 1)
        if wilson(k / n, n).low <= share <= wilson(k / n, n).high
    )
    assert 0.91 <= covered <= 0.995


def test_a_perplexity_is_never_below_one():
    assert interval("perplexity", 3.0, 2.0, 50) == pytest.approx((1.0, 6.92))


def test_a_metric_that_is_not_known_is_not_cut():
    assert interval("my_margin", 0.1, 0.2, 50) == pytest.approx((-0.292, 0.492))


def test_there_is_no_interval_without_a_standard_error():
    assert interval("word_perplexity", 25.0, None, 62) == NO_INTERVAL
    assert interval("bits_per_byte", 0.9, 0.0, 62) == NO_INTERVAL
    assert interval("acc", None, None, 100) == NO_INTERVAL


def test_a_group_without_standard_error_has_no_interval_because_its_tasks_may_weigh_unevenly():
    assert interval("acc", 0.3, None, 1000, pooled=True) == NO_INTERVAL
    assert interval("acc", 0.3, None, 1000) == wilson(0.3, 1000)
