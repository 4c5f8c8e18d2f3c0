"""Heat map and bars: every task and checkpoint is there once, in the order of what is shown."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import vl_convert

from milepost.analysis import rows
from milepost.analysis.row import Row
from milepost.report.charts.curves import curve
from milepost.report.charts.first_last import first_last
from milepost.report.charts.heat_cells import IN_THOUSANDS
from milepost.report.charts.heat_map import heat_map
from milepost.report.vega import vegalite_version
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
        if bar["when"].startswith("first"):
            assert bar["value"] == firsts[bar["task"]].value


def test_the_legend_of_bars_names_the_steps() -> None:
    encoding = first_last(SUBJECTS).to_dict()["vconcat"][0]["layer"][0]["encoding"]
    assert encoding["color"]["scale"]["domain"] == ["first: step 1000", "last: step 27000"]


def test_steps_below_a_heat_map_are_written_as_below_other_charts() -> None:
    axis = heat_map(SUBJECTS).to_dict()["vconcat"][0]["encoding"]["x"]["axis"]
    assert axis["labelExpr"] == IN_THOUSANDS
    named = [replace(row, step=None) for row in SUBJECTS]
    assert "labelExpr" not in heat_map(named).to_dict()["vconcat"][0]["encoding"]["x"]["axis"]


def test_a_heat_map_is_centred_at_chance_and_a_perplexity_has_a_log_scale() -> None:
    color = heat_map(SUBJECTS).to_dict()["vconcat"][0]["encoding"]["color"]
    assert (color["field"], color["scale"]["domainMid"]) == ("from_chance", 0)
    low, high = color["scale"]["domain"]
    assert low == -high
    texts = rows([perplexity(value=v, step=i) for i, v in enumerate((5000.0, 100.0, 20.0))])
    assert heat_map(texts).to_dict()["vconcat"][0]["encoding"]["color"]["scale"]["type"] == "log"


def test_a_heat_map_has_each_group_above_its_tasks() -> None:
    every = rows(mmlu(STEPS))
    ordered = order_of(heat_map(every))
    parents = {row.task: row.parents for row in every}
    assert ordered[0] == "mmlu"
    head = ""
    for task in ordered[1:]:
        if len(parents[task]) == 1:
            head = task
        else:
            assert parents[task][-1] == head


@pytest.mark.parametrize("n_tasks", [2, 24, 25])  # panels are in two columns, in three, in four
def test_pictures_fit_a_page_of_1280_pixels(n_tasks: int) -> None:
    few = STEPS[:2]
    names = {f"mmlu_subject_{i:02}" for i in range(n_tasks)}
    shown = [row for row in rows(mmlu(few)) if row.task in names]
    for chart in (curve(shown), heat_map(shown), first_last(shown)):
        svg = vl_convert.vegalite_to_svg(chart.to_dict(), vl_version=vegalite_version())
        width = re.search(r'<svg[^>]* width="([\d.]+)"', svg)
        assert width is not None
        assert float(width.group(1)) <= 1280


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
