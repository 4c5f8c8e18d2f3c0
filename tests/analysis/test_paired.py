"""Paired tests keep their level, see what is there, and agree with scipy."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from milepost.analysis.paired import (
    ALPHA,
    Flips,
    compare_right,
    flips,
    holm,
    mcnemar,
    paired_bootstrap,
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


def test_a_model_against_itself_shows_nothing() -> None:
    right = np.arange(50) % 3 == 0
    same = compare_right(right, right)
    assert (same.difference, same.p_value) == (0.0, 1.0)
    assert same.interval.low < 0 < same.interval.high
    scores = np.random.default_rng(0).random(50)
    drawn = paired_bootstrap(scores, scores)
    assert (drawn.difference, drawn.p_value, drawn.interval) == (0.0, 1.0, (0.0, 0.0))


def test_fewer_than_six_flips_can_show_nothing_and_the_smallest_difference_says_so() -> None:
    five_lost = np.array([False] * 5 + [True] * 995)
    paired = compare_right(np.ones(1000, bool), five_lost)
    assert paired.p_value > ALPHA
    assert paired.smallest >= 6 / 1000
    assert mcnemar(6, 0) < ALPHA < mcnemar(5, 0)


def test_bootstrap_sees_a_difference_that_pairing_makes_visible() -> None:
    generator = np.random.default_rng(1)
    hard = generator.normal(0, 10, 300)
    other = hard + 0.2 + generator.normal(0, 0.5, 300)
    paired = paired_bootstrap(hard, other)
    stderr = (other - hard).std(ddof=1) / math.sqrt(300)
    assert paired.p_value < 0.001
    assert paired.difference == pytest.approx(float((other - hard).mean()))
    assert paired.interval.low == pytest.approx(paired.difference - 1.96 * stderr, abs=0.2 * stderr)
    assert paired.interval.high == pytest.approx(paired.difference + 1.96 * stderr, abs=0.2 * stderr)
    assert paired.smallest == pytest.approx(2.8 * stderr, rel=0.05)


def test_bootstrap_is_the_same_every_time_and_whether_or_not_values_repeat() -> None:
    generator = np.random.default_rng(2)
    few = generator.integers(0, 3, (2, 640)) / 2
    many = few + generator.normal(0, 1e-9, few.shape)
    assert paired_bootstrap(*few) == paired_bootstrap(*few)
    of_few, of_many = paired_bootstrap(*few), paired_bootstrap(*many)
    assert of_few.interval.low == pytest.approx(of_many.interval.low, abs=0.003)
    assert of_few.p_value == pytest.approx(of_many.p_value, abs=0.02)


def test_bootstrap_of_a_perplexity_weighs_docs_by_their_words() -> None:
    words = np.array([10.0, 20.0, 400.0, 30.0] * 10)
    original = np.linspace(2, 4, 40)
    other = original + np.linspace(0.1, 0.3, 40)
    paired = paired_bootstrap(original, other, weights=words, figure=np.exp)
    before = math.exp((original * words).sum() / words.sum())
    after = math.exp((other * words).sum() / words.sum())
    assert paired.difference == pytest.approx(after - before)
    assert 0 < paired.interval.low < paired.difference < paired.interval.high
    assert paired.p_value == pytest.approx(1e-4)


def test_the_tasks_of_a_group_keep_their_number_of_docs_in_every_draw() -> None:
    """Two tasks that differ only from each other: drawn within tasks, the group's difference cannot vary."""
    strata = np.repeat([0, 1], [30, 10])
    original = np.zeros(40)
    other = np.where(strata == 0, 0.1, 0.5)
    weights = np.where(strata == 0, 0.5 / 30, 0.5 / 10)
    paired = paired_bootstrap(original, other, weights=weights, strata=strata)
    assert paired.difference == pytest.approx(0.3)
    assert paired.interval == pytest.approx((0.3, 0.3))


def test_one_doc_says_nothing() -> None:
    paired = paired_bootstrap(np.array([0.0]), np.array([1.0]))
    assert (paired.difference, paired.p_value, paired.interval) == (1.0, 1.0, (None, None))


@pytest.mark.parametrize("docs", [12, 100])
def test_wrong_alarms_stay_below_five_percent(docs: int) -> None:
    """500 pairs of equally good models on the same docs, right or wrong and with scores between."""
    generator = np.random.default_rng(docs)
    wrong_alarms = {"mcnemar": 0, "bootstrap": 0}
    for _ in range(500):
        ease = generator.random(docs)
        right = generator.random((2, docs)) < ease
        scores = np.round(np.clip(ease + generator.normal(0, 0.2, (2, docs)), 0, 1), 2)
        wrong_alarms["mcnemar"] += compare_right(*right).p_value < ALPHA
        wrong_alarms["bootstrap"] += paired_bootstrap(*scores, resamples=499).p_value < ALPHA
    assert max(wrong_alarms.values()) <= 25, wrong_alarms


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
