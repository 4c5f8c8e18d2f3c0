"""What a series shows, on made-up series whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import ttest_rel

from milepost.analysis.improvement import CurveProgress, compare_all, curve_progress, weighted
from milepost.analysis.paired import compare_right, paired_means

SIMULATIONS = 1000
DOCS = 400


def shown(values: np.ndarray, *, higher_is_better: bool = True) -> CurveProgress:
    pairs = compare_all(values.astype(float), np.ones(values.shape[1]))
    return curve_progress(pairs, higher_is_better=higher_is_better)


def answers(generator: np.random.Generator, quality: list[float], docs: int = DOCS) -> np.ndarray:
    """Right or wrong, [S, D]: each doc has a difficulty of its own that all checkpoints meet."""
    difficulty = generator.normal(0, 1, docs)
    skill = np.log(np.array(quality) / (1 - np.array(quality))) * 1.2
    chance = 1 / (1 + np.exp(-(skill[:, None] - difficulty)))
    return (generator.random((len(quality), docs)) < chance).astype(float)


def test_pairs_of_right_and_wrong_are_mcnemars() -> None:
    values = answers(np.random.default_rng(1), [0.3, 0.4, 0.6])
    pairs = compare_all(values, np.ones(DOCS))
    for first in range(3):
        for second in range(3):
            expected = compare_right(values[first] > 0, values[second] > 0)
            assert pairs.p_value[first, second] == pytest.approx(expected.p_value, rel=1e-9)
            assert pairs.difference[first, second] == pytest.approx(expected.difference)


def test_pairs_of_other_metrics_are_paired_mean_differences() -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(0, 1, (3, 500)) + np.array([[0.0], [0.1], [0.3]])
    pairs = compare_all(values, np.ones(500))
    expected = ttest_rel(values[2], values[0])
    assert pairs.p_value[0, 2] == pytest.approx(expected.pvalue, rel=0.2)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        compared = paired_means(values[first], values[second])
        assert pairs.p_value[first, second] == pytest.approx(compared.p_value)
    assert pairs.gain_interval == pytest.approx(paired_means(values[0], values[2]).interval)


def test_weights_are_those_of_the_mean() -> None:
    values = np.array([[1.0, 0.0, 3.0], [2.0, 0.0, 1.0]])
    pairs = compare_all(values, np.array([1.0, 2.0, 1.0]))
    assert pairs.difference[0, 1] == pytest.approx(3 / 4 - 4 / 4)


def test_a_rising_series_is_best_at_its_end_and_has_no_plateau() -> None:
    rising = shown(answers(np.random.default_rng(3), [0.25, 0.4, 0.55, 0.7, 0.85], docs=2000))
    assert (rising.best, rising.worst, rising.as_good) == (4, 0, (4,))
    assert rising.improved
    assert not rising.regressed
    assert rising.plateau_since is None


def test_a_series_that_stops_learning_has_a_plateau_where_it_stopped() -> None:
    stopped = shown(answers(np.random.default_rng(4), [0.25, 0.4, 0.7, 0.7, 0.7, 0.7, 0.7], docs=3000))
    assert stopped.plateau_since == 2
    assert set(stopped.as_good) == {2, 3, 4, 5, 6}


def test_a_series_that_falls_at_its_end_has_regressed() -> None:
    fallen = shown(answers(np.random.default_rng(5), [0.3, 0.8, 0.4], docs=1000))
    assert fallen.best == 1
    assert fallen.regressed


def test_where_lower_is_better_the_signs_turn() -> None:
    falling = shown(-answers(np.random.default_rng(6), [0.2, 0.5, 0.8]) + 1, higher_is_better=False)
    assert falling.best == 2
    assert falling.improved
    assert falling.gain < 0


def test_equal_checkpoints_are_all_as_good() -> None:
    same = np.tile(answers(np.random.default_rng(7), [0.5]), (4, 1))
    of_same = shown(same)
    assert of_same.as_good == (0, 1, 2, 3)
    assert not of_same.improved
    assert of_same.plateau_since == 0


def test_a_doc_that_is_not_known_everywhere_is_left_out() -> None:
    values, weights, tasks = weighted([(np.array([[1.0, np.nan], [0.0, 1.0]]), 1.0), (np.ones((2, 2)), 0.5)])
    assert values.tolist() == [[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]
    assert weights.tolist() == [2.0, 0.5, 0.5]  # the first task still counts 2 of 3
    assert tasks.tolist() == [0, 1, 1]


def test_intervals_of_the_gain_cover_it_95_times_in_100() -> None:
    generator = np.random.default_rng(8)
    quality = [0.3, 0.4]
    truth = np.diff(answers(generator, quality, docs=2_000_000).mean(axis=1))[0]
    covered = 0
    for _ in range(SIMULATIONS):
        low, high = shown(answers(generator, quality)).gain_interval
        covered += low <= truth <= high
    assert 0.93 <= covered / SIMULATIONS <= 0.97


def test_intervals_of_other_metrics_cover_the_gain_95_times_in_100() -> None:
    generator = np.random.default_rng(9)
    covered = 0
    for _ in range(SIMULATIONS):
        common = generator.exponential(1, DOCS)
        values = np.stack(
            [common + generator.normal(0, 0.5, DOCS), common + generator.normal(0.1, 0.5, DOCS)]
        )
        low, high = shown(values).gain_interval
        covered += low <= 0.1 <= high
    assert 0.93 <= covered / SIMULATIONS <= 0.97


@pytest.mark.parametrize("quality", [[0.4] * 8, [0.3, 0.4, 0.5, 0.55, 0.57, 0.58, 0.58, 0.57]])
def test_the_true_best_is_among_those_as_good_as_the_best(quality: list[float]) -> None:
    generator = np.random.default_rng(10)
    truly_best = int(np.argmax(quality))
    held = sum(truly_best in shown(answers(generator, quality)).as_good for _ in range(SIMULATIONS))
    assert held / SIMULATIONS >= 0.95


def test_a_flat_series_is_called_improved_at_most_5_times_in_100() -> None:
    generator = np.random.default_rng(11)
    flat = [shown(answers(generator, [0.25] * 10)) for _ in range(SIMULATIONS)]
    assert sum(one.improved for one in flat) / SIMULATIONS <= 0.05
    assert sum(one.regressed for one in flat) / SIMULATIONS <= 0.05


def normal(draw: np.random.Generator, docs: int, checkpoints: int) -> np.ndarray:
    return draw.normal(0, 3, (1, docs)) + draw.normal(0, 1, (checkpoints, docs))


def heavy(draw: np.random.Generator, docs: int, checkpoints: int) -> np.ndarray:
    return draw.normal(0, 3, (1, docs)) + draw.standard_t(2, (checkpoints, docs))


def accuracy(draw: np.random.Generator, docs: int, checkpoints: int) -> np.ndarray:
    return answers(draw, [0.6] * checkpoints, docs)


@pytest.mark.parametrize("docs", [1, 2, 5, 10, 20, 50])
@pytest.mark.parametrize("of", [normal, heavy, accuracy])
def test_equal_checkpoints_are_seldom_told_apart_however_few_the_docs(
    of: Callable[[np.random.Generator, int, int], np.ndarray], docs: int
) -> None:
    draw = np.random.default_rng(docs)
    for checkpoints in (2, 10):
        found = [shown(of(draw, docs, checkpoints)) for _ in range(400)]
        assert sum(one.improved for one in found) <= 0.025 * 400 + 8
        assert sum(one.regressed for one in found) <= 0.05 * 400 + 8
        assert sum(len(one.as_good) < checkpoints for one in found) <= 0.05 * 400 + 8


@pytest.mark.parametrize("docs", [1, 2, 3, 5])
def test_few_docs_prove_nothing_however_clear_they_seem(docs: int) -> None:
    for values in (np.linspace(0, 9, 6)[:, None] + np.zeros((6, docs)), np.eye(6)[:, :1].repeat(docs, 1)):
        found = shown(values)
        assert found.too_few_docs
        assert (found.improved, found.regressed, found.plateau_since) == (False, False, None)
        assert found.as_good == (0, 1, 2, 3, 4, 5)


def test_tasks_of_a_group_that_count_alike_are_compared_as_by_compare() -> None:
    draw = np.random.default_rng(12)
    strata = np.repeat([0, 1, 2], [4, 40, 200])
    weights = np.repeat([1 / 4, 1 / 40, 1 / 200], [4, 40, 200])
    for values in (answers(draw, [0.4, 0.5], 244), draw.normal(0, 1, (2, 244))):
        pairs = compare_all(values, weights, strata)
        compared = paired_means(values[0], values[1], weights=weights, strata=strata)
        assert pairs.p_value[0, 1] == compared.p_value
        assert pairs.gain_interval == pytest.approx(compared.interval)
