"""Paired tests keep their level, see what is there, and agree with scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_rel

from milepost.analysis.mcnemar_power import smallest_of_shares
from milepost.analysis.paired import (
    ALPHA,
    Flips,
    compare_right,
    flips,
    holm,
    mcnemar,
    paired_means,
    proportions_interval,
)

counts = st.integers(0, 400)


@given(counts, counts)
def test_mcnemar_is_the_exact_binomial_test_of_the_docs_that_changed_sides(lost: int, gained: int) -> None:
    expected = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert mcnemar(lost, gained) == pytest.approx(expected, rel=1e-9)


def test_flips_are_counted_both_ways() -> None:
    original = np.array([True, True, True, False, False])
    other = np.array([True, False, False, True, False])
    assert flips(original, other) == Flips(lost=2, gained=1)


@given(counts, counts, st.integers(0, 400))
def test_the_interval_of_a_difference_of_shares_holds_the_difference(
    lost: int, gained: int, same: int
) -> None:
    n = max(1, lost + gained + same)
    low, high = proportions_interval(Flips(lost, gained), n)
    assert -1 <= low <= (gained - lost) / n <= high <= 1
    assert low < high
    mirrored = proportions_interval(Flips(gained, lost), n)
    assert (mirrored.low, mirrored.high) == (pytest.approx(-high), pytest.approx(-low))


def test_the_interval_of_a_difference_of_shares_is_bonett_and_prices() -> None:
    lost, gained, n = 21, 59, 100
    shares = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    centre = shares[0] - shares[1]
    half = 1.96 * math.sqrt((shares[0] + shares[1] - centre**2) / (n + 2))
    assert proportions_interval(Flips(lost, gained), n) == pytest.approx((centre - half, centre + half))


@pytest.mark.parametrize(("docs", "p_lost", "p_gained"), [(20, 0.1, 0.1), (50, 0.3, 0.05), (400, 0.01, 0.02)])
def test_the_interval_of_a_difference_of_shares_covers_the_truth(
    docs: int, p_lost: float, p_gained: float
) -> None:
    generator = np.random.default_rng(docs)
    drawn = generator.multinomial(docs, [p_lost, p_gained, 1 - p_lost - p_gained], size=2000)
    covered = 0
    for lost, gained, _ in drawn:
        low, high = proportions_interval(Flips(int(lost), int(gained)), docs)
        covered += low <= p_gained - p_lost <= high
    assert covered >= 0.94 * 2000


@given(lost=st.integers(0, 30), gained=st.integers(0, 30), same=st.integers(0, 500))
def test_an_interval_of_shares_holds_zero_where_mcnemar_finds_no_difference(
    lost: int, gained: int, same: int
) -> None:
    low, high = proportions_interval(Flips(lost, gained), lost + gained + same + 1)
    if mcnemar(lost, gained) >= 0.05:
        assert low <= 0 <= high


def test_a_model_against_itself_shows_nothing() -> None:
    right = np.arange(50) % 3 == 0
    same = compare_right(right, right)
    assert (same.difference, same.p_value) == (0.0, 1.0)
    assert same.interval.low < 0 < same.interval.high
    scores = np.random.default_rng(0).random(50)
    found = paired_means(scores, scores)
    assert (found.difference, found.p_value, found.interval) == (0.0, 1.0, (0.0, 0.0))


def test_fewer_than_six_flips_can_show_nothing_and_the_smallest_difference_says_so() -> None:
    five_lost = np.array([False] * 5 + [True] * 995)
    paired = compare_right(np.ones(1000, bool), five_lost)
    assert paired.p_value > ALPHA
    assert paired.smallest >= 6 / 1000
    assert mcnemar(6, 0) < ALPHA < mcnemar(5, 0)


@pytest.mark.parametrize(("n", "alpha", "shows"), [(5, 0.05, False), (6, 0.05, True), (9, 0.001, False)])
def test_too_few_docs_could_show_nothing(n: int, alpha: float, shows: bool) -> None:
    assert math.isfinite(smallest_of_shares(0, 0, n, alpha)) is shows


@pytest.mark.parametrize(("n", "lost", "gained"), [(12, 1, 1), (40, 4, 6), (300, 2, 0), (300, 40, 30)])
def test_what_mcnemar_could_show_it_shows_in_four_of_five_samples(n: int, lost: int, gained: int) -> None:
    smallest = smallest_of_shares(lost, gained, n, ALPHA)
    churn = max(smallest, (lost + gained + 2) / (n + 2))
    drawn = np.random.default_rng(n).multinomial(
        n, [(churn - smallest) / 2, (churn + smallest) / 2, 1 - churn], size=2000
    )
    found = np.mean([mcnemar(int(one[0]), int(one[1])) < ALPHA for one in drawn])
    assert 0.77 <= found <= 0.84


def test_means_see_a_difference_that_pairing_makes_visible() -> None:
    generator = np.random.default_rng(1)
    hard = generator.normal(0, 10, 300)
    other = hard + 0.2 + generator.normal(0, 0.5, 300)
    paired = paired_means(hard, other)
    stderr = (other - hard).std(ddof=1) / math.sqrt(300)
    assert paired.p_value < 1e-6
    assert paired.difference == pytest.approx(float((other - hard).mean()))
    assert paired.interval.low == pytest.approx(paired.difference - 1.97 * stderr, abs=0.1 * stderr)
    assert paired.interval.high == pytest.approx(paired.difference + 1.97 * stderr, abs=0.1 * stderr)
    assert paired.smallest == pytest.approx(2.8 * stderr, rel=0.05)


def test_of_many_docs_it_is_students_test() -> None:
    generator = np.random.default_rng(2)
    original, other = generator.normal(0, 1, (2, 3000)) + np.array([[0.0], [0.05]])
    expected = ttest_rel(other, original)
    paired = paired_means(original, other)
    assert paired.p_value == pytest.approx(expected.pvalue, rel=0.05)
    low, high = expected.confidence_interval()
    assert paired.interval == pytest.approx((low, high), abs=0.001)


def test_tails_reach_as_far_as_holm_needs_them() -> None:
    generator = np.random.default_rng(3)
    original = generator.normal(0, 1, 200)
    paired = paired_means(original, original + 0.3 + generator.normal(0, 0.3, 200))
    assert paired.p_value < 1e-9


def test_the_interval_holds_zero_exactly_if_the_test_does_not_reject() -> None:
    generator = np.random.default_rng(4)
    for _ in range(300):
        n = int(generator.integers(10, 40))
        moved = generator.exponential(1, n) - 1 + generator.normal(0, 0.5)
        paired = paired_means(np.zeros(n), moved)
        low, high = paired.interval
        assert low is not None
        assert high is not None
        assert (low <= 0 <= high) is (paired.p_value >= ALPHA)


def test_a_perplexity_is_weighed_by_words_and_tested_on_the_log_scale() -> None:
    words = np.array([10.0, 20.0, 400.0, 30.0] * 10)
    original = np.linspace(2, 4, 40)
    other = original + np.linspace(0.1, 0.3, 40)
    paired = paired_means(original, other, weights=words, transform=np.exp)
    before = math.exp((original * words).sum() / words.sum())
    after = math.exp((other * words).sum() / words.sum())
    assert paired.difference == pytest.approx(after - before)
    assert 0 < paired.interval.low < paired.difference < paired.interval.high
    assert paired.p_value < 1e-6


def test_the_tasks_of_a_group_are_strata() -> None:
    """Two tasks that differ only from each other: within tasks nothing varies, so the mean cannot either."""
    strata = np.repeat([0, 1], [30, 10])
    original = np.zeros(40)
    other = np.where(strata == 0, 0.1, 0.5)
    weights = np.where(strata == 0, 0.5 / 30, 0.5 / 10)
    paired = paired_means(original, other, weights=weights, strata=strata)
    assert paired.difference == pytest.approx(0.3)
    assert paired.interval == pytest.approx((0.3, 0.3))


@pytest.mark.parametrize("docs", [1, 2, 3, 5, 9])
def test_too_few_docs_say_nothing(docs: int) -> None:
    paired = paired_means(np.zeros(docs), np.linspace(1, 2, docs))
    assert (paired.p_value, paired.interval) == (1.0, (None, None))
    assert paired.smallest == math.inf
    assert paired.difference > 0


DIFFERENCES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda draw, n: draw.normal(size=n),
    "heavy tails": lambda draw, n: draw.standard_t(3, n),
    "mostly equal": lambda draw, n: np.where(
        draw.random(n) < 0.2, draw.choice([-1.0, -0.5, 0.5, 1.0], n), 0.0
    ),
    "symmetric, skewed docs": lambda draw, n: draw.gamma(0.3, size=n) * draw.choice([-1.0, 1.0], n),
    "skewed": lambda draw, n: draw.exponential(1, n) - 1,
}


@pytest.mark.parametrize("docs", [10, 15, 40])
@pytest.mark.parametrize("shape", DIFFERENCES)
def test_wrong_alarms_stay_below_their_level_and_intervals_cover(shape: str, docs: int) -> None:
    draw = np.random.default_rng(docs)
    alarms = {0.05: 0, 0.002: 0}
    covered = 0
    for _ in range(2000):
        paired = paired_means(np.zeros(docs), DIFFERENCES[shape](draw, docs))
        for level in alarms:
            alarms[level] += paired.p_value < level
        covered += paired.interval.low <= 0 <= paired.interval.high
    assert alarms[0.05] <= 0.05 * 2000 * 1.1
    assert alarms[0.002] <= 14  # 4 are expected
    assert covered >= 0.945 * 2000


@pytest.mark.parametrize("docs", [12, 100])
def test_wrong_alarms_of_equally_good_models_stay_below_five_percent(docs: int) -> None:
    """500 pairs of models on the same docs, right or wrong and with scores between."""
    generator = np.random.default_rng(docs)
    wrong_alarms = {"mcnemar": 0, "means": 0}
    for _ in range(500):
        ease = generator.random(docs)
        right = generator.random((2, docs)) < ease
        scores = np.round(np.clip(ease + generator.normal(0, 0.2, (2, docs)), 0, 1), 2)
        wrong_alarms["mcnemar"] += compare_right(*right).p_value < ALPHA
        wrong_alarms["means"] += paired_means(*scores).p_value < ALPHA
    assert max(wrong_alarms.values()) <= 25, wrong_alarms


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
def test_unequal_tasks_that_count_alike_err_and_cover_as_they_say(p: float) -> None:
    """A task of three docs, often all right, beside two large ones."""
    sizes = [3, 60, 300]
    strata = np.repeat([0, 1, 2], sizes)
    weights = np.repeat([1 / size for size in sizes], sizes)
    draw = np.random.default_rng(5)
    alarms = covered = 0
    for _ in range(1000):
        original, other = (draw.random((2, len(strata))) < p).astype(float)
        paired = paired_means(original, other, weights=weights, strata=strata)
        alarms += paired.p_value < ALPHA
        covered += paired.interval.low <= 0 <= paired.interval.high
    assert alarms <= 60
    assert covered >= 930


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    ranked = [a for _, a in sorted(zip(p_values, adjusted, strict=True))]
    assert all(a <= b for a, b in pairwise(ranked))
    assert min(adjusted) == pytest.approx(min(1.0, len(p_values) * min(p_values)))


def test_holm_gives_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
