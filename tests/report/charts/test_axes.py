"""Axes that do not exaggerate."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.analysis import rows
from milepost.report.charts.axes import linear_ticks, log_ticks, y_axis
from tests.analysis.made import accuracy, measurement, perplexity

ACCURACIES = st.lists(st.tuples(st.floats(0, 1), st.integers(2, 20_000)), min_size=1, max_size=30)


@given(ACCURACIES, st.sampled_from([None, 0.0, 0.25, 0.5]))
def test_an_accuracy_axis_spans_a_fifth_and_shows_bands_and_chance_within_0_and_1(
    found: Any, chance: float
) -> None:
    shown = rows([accuracy(value=v, n=n, step=i, chance=chance) for i, (v, n) in enumerate(found)])
    axis = y_axis(shown)
    assert 0 <= axis.low < axis.high <= 1
    assert axis.high - axis.low >= 0.2 - 1e-12
    assert axis.low <= min(row.ci_low for row in shown)
    assert axis.high >= max(row.ci_high for row in shown)
    assert chance is None or axis.low <= chance <= axis.high
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)
    assert len(axis.ticks) >= 2


def test_noise_around_chance_stays_small_in_the_picture() -> None:
    noise = [0.2415, 0.2561, 0.2283, 0.2502]
    axis = y_axis(rows([accuracy(value=v, n=14042, step=i) for i, v in enumerate(noise)]))
    assert (max(noise) - min(noise)) / (axis.high - axis.low) < 0.15


def test_a_perplexity_axis_is_log_and_spans_a_factor_of_one_and_a_quarter() -> None:
    axis = y_axis(rows([perplexity(value=v, step=i) for i, v in enumerate((12.1, 12.0, 11.9))]))
    assert axis.log
    assert axis.high / axis.low == pytest.approx(1.25)
    assert len(axis.ticks) >= 2
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)


def test_f1_in_points_of_a_hundred_has_an_axis_that_shows_it() -> None:
    found = [measurement(metric="f1", value=v, stderr=1.0, step=i) for i, v in enumerate((8.0, 40.0))]
    assert y_axis(rows(found)).high >= 40


def test_perplexities_that_fall_by_a_factor_of_ten_get_a_log_axis() -> None:
    axis = y_axis(rows([perplexity(value=v, step=i) for i, v in enumerate((50_000.0, 900.0, 25.0))]))
    assert axis.log
    assert 1 < axis.low < 25 < 50_000 < axis.high
    assert axis.ticks == [30, 100, 300, 1000, 3000, 10000, 30000]


def test_an_axis_without_any_value_still_exists() -> None:
    axis = y_axis(rows([measurement(value=None, stderr=None, chance=None)]))
    assert (axis.low, axis.high) == (0.0, 0.2)


def test_ticks_are_round_numbers_and_few() -> None:
    assert linear_ticks(2000, 54000) == [10000, 20000, 30000, 40000, 50000]
    assert log_ticks(1, 54000) == [1, 10, 100, 1000, 10000]
    assert log_ticks(10, 60) == [10, 20, 50]
    assert log_ticks(3, 4) == [3, 4]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_there_are_always_a_few_linear_ticks_within_the_axis(first: Any, span: Any) -> None:
    ticks = linear_ticks(first, first + span)
    assert 2 <= len(ticks) <= 9
    assert first - 1e-6 * span - 1e-5 <= ticks[0] < ticks[-1] <= first + span + 1e-6 * span + 1e-5
