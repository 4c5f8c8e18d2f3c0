"""Heat map and bars: every task and checkpoint is there once, in the order of what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from milepost.analysis import rows
from milepost.analysis.row import Row
from milepost.report.charts.first_last import first_last
from milepost.report.charts.heat_map import heat_map
from tests.analysis.made import mmlu, perplexity, rising

STEPS = list(range(1000, 28_000, 1000))
SUBJECTS = [row for row in rows(mmlu(STEPS)) if row.kind == "task"]


def data(chart: Any) -> list[dict[str, Any]]:
    (only,) = chart.to_dict()["datasets"].values()
    return list(only)


def order_of(chart: Any) -> list[str]:
    spec = chart.to_dict()["vconcat"][0]
    encoding = spec["encoding"] if "encoding" in spec else spec["layer"][0]["encoding"]
    return list(encoding["y"]["sort"])


def test_a_heat_map_has_a_cell_for_each_task_and_checkpoint() -> None:
    cells = data(heat_map(SUBJECTS))
    assert len(cells) == 57 * 27
    assert len({(cell["task"], cell["checkpoint"]) for cell in cells}) == len(cells)


def test_its_tasks_go_down_from_the_highest_at_the_last_checkpoint() -> None:
    last = {row.task: row.value for row in SUBJECTS if row.step == STEPS[-1]}
    ordered = order_of(heat_map(SUBJECTS))
    assert ordered == sorted(last, key=lambda task: -(last[task] or 0))


def test_its_colours_span_enough_not_to_show_noise_as_progress() -> None:
    flat = rows(rising("flat", STEPS, low=0.25, high=0.251, n=100_000))
    low, high = heat_map(flat).to_dict()["vconcat"][0]["encoding"]["color"]["scale"]["domain"]
    assert high - low >= 0.19


def test_bars_are_the_first_and_the_last_checkpoint_with_their_intervals() -> None:
    bars = data(first_last(SUBJECTS))
    assert len(bars) == 57 * 2
    firsts = {row.task: row for row in SUBJECTS if row.step == STEPS[0]}
    for bar in bars:
        assert bar["ci_low"] <= bar["value"] <= bar["ci_high"]
        if bar["when"] == "first":
            assert bar["value"] == firsts[bar["task"]].value


def test_bars_begin_at_zero_so_that_lengths_compare() -> None:
    assert {bar["low"] for bar in data(first_last(SUBJECTS))} == {0.0}


def test_each_task_has_the_chance_line_of_its_own_number_of_choices() -> None:
    two = rows(
        rising("four", [1, 2], low=0.3, high=0.6, n=100, chance=0.25)
        + rising("two", [1, 2], low=0.5, high=0.6, n=100, chance=0.5)
    )
    assert {(bar["task"], bar["chance"]) for bar in data(first_last(two))} == {("four", 0.25), ("two", 0.5)}


def test_the_task_that_gained_most_is_on_top_whatever_is_better() -> None:
    up = rows(
        rising("up", [1, 2], low=0.2, high=0.9, n=1000) + rising("flat", [1, 2], low=0.5, high=0.5, n=1000)
    )
    assert order_of(first_last(up)) == ["up", "flat"]
    down: list[Row] = rows(
        [
            perplexity(task="good", step=1, value=50.0),
            perplexity(task="good", step=2, value=10.0),
            perplexity(task="bad", step=1, value=10.0),
            perplexity(task="bad", step=2, value=11.0),
        ]
    )
    assert order_of(first_last(down)) == ["good", "bad"]


@pytest.mark.parametrize("draw", [heat_map, first_last])
def test_one_checkpoint_and_several_runs_can_be_drawn(draw: Any) -> None:
    alone = rows(rising("task", [5], low=0.3, high=0.3, n=100))
    two = rows(
        rising("task", [1, 2], low=0.3, high=0.6, n=100)
        + rising("task", [1, 2], low=0.3, high=0.6, n=100, series="other")
    )
    assert len(data(draw(alone))) == 1
    assert len(draw(two).to_dict()["vconcat"]) == 2
