"""Bars of what each checkpoint picks: every share is there once, beside that of the right answers."""

from __future__ import annotations

from typing import Any

import pytest

from milepost.report.charts.pick_bars import pick_bars
from milepost.types.picks import PickCounts, Picks

LETTERS = PickCounts(
    n=10,
    fixed=True,
    picked=[1, 9, 0],
    right=[2, 3, 5],
    constant=[0.2, 0.3, 0.5],
    picked_by_length=[],
    right_by_length=[],
)
TEXTS = LETTERS._replace(fixed=False, picked_by_length=[2.0, 3.0, 5.0], right_by_length=[4.0, 4.0, 2.0])


def picks(counts: PickCounts, *, step: int | None = 10, series: str = "run", task: str = "task") -> Picks:
    name = "main" if step is None else f"step-{step}"
    return Picks(series=series, checkpoint=name, step=step, task=task, kind="task", counts=counts)


def bars(chart: Any) -> list[dict[str, dict[str, float]]]:
    """Per panel, the shares of each bar by the name of the part."""
    found = []
    for records in chart.to_dict()["datasets"].values():
        panel: dict[str, dict[str, float]] = {}
        for record in records:
            panel.setdefault(record["checkpoint"], {})[record["kind"]] = record["share"]
        found.append(panel)
    return found


def test_a_bar_has_the_share_of_each_position_and_the_first_one_that_of_the_right_answers() -> None:
    (panel,) = bars(pick_bars([picks(LETTERS), picks(LETTERS._replace(picked=[5, 5, 0]), step=20)]))
    assert panel == {
        "10": {"A": 0.1, "B": 0.9, "C": 0.0},
        "20": {"A": 0.5, "B": 0.5, "C": 0.0},
        "right": {"A": 0.2, "B": 0.3, "C": 0.5},
    }


def test_where_choices_differ_in_length_there_is_a_panel_by_length() -> None:
    _, by_length = bars(pick_bars([picks(TEXTS)]))
    assert by_length == {
        "10": {"shortest": 0.2, "2nd shortest": 0.3, "longest": 0.5},
        "right": {"shortest": 0.4, "2nd shortest": 0.4, "longest": 0.2},
    }


def test_bars_add_up_to_one_even_where_a_doc_has_several_right_answers() -> None:
    (panel,) = bars(pick_bars([picks(LETTERS._replace(right=[10, 10, 5]), step=None)]))
    assert all(sum(shares.values()) == pytest.approx(1.0) for shares in panel.values())
    assert list(panel) == ["right", "main"]


def test_each_task_of_each_run_has_its_own_panel() -> None:
    every = [picks(LETTERS, series=run, task=task) for run in ("a", "b") for task in ("one", "two")]
    spec = pick_bars(every).to_dict()
    assert [panel["title"]["text"] for panel in spec["concat"]] == ["a: one", "a: two", "b: one", "b: two"]
