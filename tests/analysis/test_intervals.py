"""95 % intervals: 1.96 stderr where docs are many, exact coverage where they are few, never out of range."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, t

from milepost.analysis import rows
from milepost.analysis.intervals import NO_INTERVAL, Member, group_interval, interval, wilson
from milepost.analysis.student_t import t_quantile
from tests.analysis.made import accuracy, measurement

SHARES = st.floats(0, 1)
DOCS = st.integers(1, 100_000)


def stderr_of(share: float, n: int) -> float | None:
    """lm_eval's of n answers that are right or wrong."""
    return math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else None


def test_a_share_of_many_docs_has_1_96_standard_errors_on_either_side() -> None:
    share, n = 3526 / 14042, 14042
    error = stderr_of(share, n)
    assert error is not None
    assert interval("acc", share, error, n) == pytest.approx((share - 1.96 * error, share + 1.96 * error))


def test_wilson_gives_the_published_intervals() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, methods 3 and 4 (without and with correction).
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0 / 20, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1 / 29, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert wilson(81 / 263, 263, corrected=True) == pytest.approx((0.2535, 0.3682), abs=5e-5)
    assert wilson(15 / 148, 148, corrected=True) == pytest.approx((0.0598, 0.1644), abs=1e-4)
    assert wilson(0 / 20, 20, corrected=True) == pytest.approx((0.0, 0.2005), abs=5e-5)
    assert wilson(1 / 29, 29, corrected=True) == pytest.approx((0.0018, 0.1963), abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 30, 100, 223, 500, 1000, 5000])
def test_the_interval_of_a_share_covers_at_least_93_times_in_100_at_any_number_of_docs(n: int) -> None:
    right = np.arange(n + 1)
    ends = [interval("acc", k / n, stderr_of(k / n, n), n) for k in right.tolist()]
    low, high = np.array(ends, dtype=float).T
    for share in (0.5, 0.6, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.25, 0.05):
        covered = float(binom.pmf(right, n, share)[(low <= share) & (share <= high)].sum())
        assert covered >= 0.93, share


def test_an_accuracy_of_zero_or_one_still_has_an_interval() -> None:
    assert interval("acc", 0.0, 0.0, 100) == wilson(0.0, 100, corrected=True)
    assert interval("exact_match", 1.0, 0.0, 100) == wilson(1.0, 100, corrected=True)
    assert interval("acc", 1.0, None, 1) == wilson(1.0, 1, corrected=True)


@given(SHARES, DOCS, st.just(0.0) | st.floats(1e-6, 0.5))
def test_the_interval_of_a_proportion_holds_its_value_and_stays_between_0_and_1(
    share: float, n: int, stderr: float
) -> None:
    low, high = interval("acc", share, stderr, n)
    assert low is not None
    assert high is not None
    assert 0 <= low <= share <= high <= 1
    assert high > low


@given(SHARES, st.integers(2, 10_000), st.booleans())
def test_more_docs_never_widen_wilsons_interval(share: float, n: int, corrected: bool) -> None:
    few, many = wilson(share, n, corrected=corrected), wilson(share, 2 * n, corrected=corrected)
    assert None not in (*few, *many)
    assert many.high - many.low <= few.high - few.low + 1e-12


# ---- metrics of other names and kinds --------------------------------------------------------------------


def test_a_metric_of_any_name_whose_docs_are_right_or_wrong_is_a_share() -> None:
    found = interval("hard_acc", 1 / 3, stderr_of(1 / 3, 12), 12)
    assert found == wilson(1 / 3, 12, corrected=True)
    assert interval("solved", 1 / 12, stderr_of(1 / 12, 12), 12).low == pytest.approx(0.0044, abs=1e-4)


def test_a_mean_of_scores_between_0_and_1_is_cut_there() -> None:
    assert interval("my_f1", 0.05, 0.04, 20, doc_range=(0.0, 0.7)).low == 0.0
    assert interval("my_f1", 0.97, 0.04, 20, doc_range=(0.5, 1.0)).high == 1.0
    assert interval("my_count", 3.0, 2.0, 20, doc_range=(0.0, 30.0)).low == 0.0
    assert interval("f1", 0.05, 0.04, 20).low == 0.0
    assert interval("my_margin", 0.1, 0.2, 50, doc_range=(-3.0, 2.0)).low == pytest.approx(
        0.1 - t.ppf(0.975, 49) * 0.2
    )


@pytest.mark.parametrize("n", [2, 3, 4, 10, 100])
def test_a_mean_has_students_interval(n: int) -> None:
    low, high = interval("loss", 5.0, 0.1, n)
    assert (low, high) == pytest.approx((5 - t.ppf(0.975, n - 1) * 0.1, 5 + t.ppf(0.975, n - 1) * 0.1))


@given(st.floats(2, 500))
def test_quantiles_are_students(df: float) -> None:
    assert t_quantile(df) == pytest.approx(t.ppf(0.975, df), abs=3e-3)


@pytest.mark.parametrize("n", [5, 20, 100])
def test_the_interval_of_a_perplexity_covers_on_the_log_scale(n: int) -> None:
    """Docs whose log-likelihoods vary by several nats; standard errors as drawn ones would have them."""
    draw = np.random.default_rng(n)
    covered = 0
    for _ in range(2000):
        nats = draw.normal(12, 4, n)
        value = math.exp(nats.mean())
        s = nats.std(ddof=0) / math.sqrt(n)
        stderr = value * math.sqrt(math.exp(s * s) * math.expm1(s * s))
        low, high = interval("perplexity", value, stderr, n)
        assert low is not None
        assert high is not None
        assert 1 <= low <= value <= high
        covered += low <= math.exp(12) <= high
    assert 0.93 <= covered / 2000 <= 0.98


def test_an_error_larger_than_the_perplexity_leaves_it_above_1() -> None:
    low, high = interval("perplexity", 3.0, 200.0, 50)
    assert low is not None
    assert high is not None
    assert 1.0 <= low < 3.0 < high


def test_there_is_no_interval_without_a_standard_error() -> None:
    assert interval("word_perplexity", 25.0, None, 62) == NO_INTERVAL
    assert interval("bits_per_byte", 0.9, 0.0, 62) == NO_INTERVAL
    assert interval("acc", None, None, 100) == NO_INTERVAL


def test_a_group_without_standard_error_has_no_interval_because_its_tasks_may_weigh_unevenly() -> None:
    assert interval("acc", 0.3, None, 1000, pooled=True) == NO_INTERVAL
    assert interval("acc", 0.3, None, 1000) == wilson(0.3, 1000, corrected=True)


# ---- groups ----------------------------------------------------------------------------------------------

SIZES = {
    "one tiny": [3, 60, 3000],
    "one doc": [1, 1000],
    "tiny and large": [2] * 10 + [1000] * 10,
    "one each": [1] * 57,
    "five each": [5] * 57,
    "a few": [10, 20, 400, 1500],
    "equal": [250] * 20,
}


@pytest.mark.parametrize("weigh", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_the_interval_of_a_group_covers_however_unequal_its_tasks(sizes: str, weigh: bool) -> None:
    n = np.array(SIZES[sizes])
    weights = n / n.sum() if weigh else np.full(len(n), 1 / len(n))
    draw = np.random.default_rng(len(n))
    for share in (0.5, 0.8, 0.9, 0.99):
        covered = 0
        for _ in range(300):
            values = draw.binomial(n, share) / n
            errors = [stderr_of(value, size) for value, size in zip(values.tolist(), n.tolist(), strict=True)]
            members = [
                Member(value, error, size, weight)
                for value, error, size, weight in zip(
                    values.tolist(), errors, n.tolist(), weights.tolist(), strict=True
                )
            ]
            known = [error for error in errors if error is not None]
            stderr = None
            if len(known) == len(errors):
                stderr = math.sqrt(sum((w * e) ** 2 for w, e in zip(weights, known, strict=True)))
            low, high = group_interval("acc", float(weights @ values), stderr, members)
            assert low is not None
            assert high is not None
            assert 0 <= low <= high <= 1
            covered += low <= share <= high
        assert covered >= 0.92 * 300, share


def test_rows_know_the_tasks_of_their_groups() -> None:
    """lm_eval's error of an unweighted group in which a small task is all right is nearly 0."""
    tasks = [
        accuracy(task="small", value=1.0, n=3, parents=("g",)),
        accuracy(task="large", value=0.6, n=3000, parents=("g",)),
    ]
    unweighted = measurement(task="g", kind="group", value=0.8, stderr=0.0045, n=3003)
    weighted = measurement(task="g", kind="group", value=(3 + 1800) / 3003, stderr=0.0089, n=3003)
    *_, wide = rows([*tasks, unweighted])
    *_, narrow = rows([*tasks, weighted])
    assert wide.ci_low is not None
    assert narrow.ci_low is not None
    assert wide.ci_low < 0.6
    assert narrow.ci_low == pytest.approx(weighted.value - 1.96 * 0.0089)
    (alone,) = rows([unweighted], [*tasks, unweighted])
    assert (alone.ci_low, alone.ci_high) == (wide.ci_low, wide.ci_high)


def test_the_mean_of_other_metrics_over_tasks_has_satterthwaites_degrees_of_freedom() -> None:
    members = [Member(0.4, 0.1, 3, 0.5), Member(0.6, 0.001, 1000, 0.5)]
    low, high = group_interval("prob_right", 0.5, 0.05, members)
    half = t.ppf(0.975, 2) * 0.05
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), rel=0.01)


@pytest.mark.parametrize("metric", ["exact", "HasAns_exact", "NoAns_exact"])
def test_squadv2_has_intervals_in_percent_also_where_all_answers_are_wrong_or_right(metric: str) -> None:
    of_share = interval("acc", 0.0, 0.0, 100)
    assert of_share.high == pytest.approx(0.046, abs=0.001)
    wrong = interval(metric, 0.0, 0.0, 100, doc_range=(0.0, 0.0))
    assert wrong == (0.0, pytest.approx(100 * (of_share.high or 0)))
    right = interval(metric, 100.0, 0.0, 100, doc_range=(100.0, 100.0))
    assert right == (pytest.approx(100 - 100 * (of_share.high or 0)), 100.0)
    some = interval(metric, 30.0, 100 * math.sqrt(0.3 * 0.7 / 399), 400, doc_range=(0.0, 100.0))
    assert some == pytest.approx((30 - 4.497, 30 + 4.497), abs=0.01)


def test_a_metric_of_that_name_whose_right_docs_count_1_has_an_interval_of_a_share() -> None:
    some = interval("exact", 0.3, math.sqrt(0.3 * 0.7 / 399), 400, doc_range=(0.0, 1.0))
    assert some == pytest.approx((0.255, 0.345), abs=0.001)
