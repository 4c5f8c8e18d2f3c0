"""What is not joined is said once for all tasks that it holds for."""

from __future__ import annotations

from milepost.report.notes import left_out_notes, reason_notes
from milepost.store.index import LeftOut
from tests.analysis.made import measurement


def test_tasks_with_the_same_gaps_share_a_line_and_long_lists_are_cut() -> None:
    left_out = [LeftOut("run", f"step-{i}", task) for task in ("a", "b") for i in range(5)]
    (note,) = left_out_notes(left_out, {("run", "a"), ("run", "b")})
    assert note.startswith("a, b: step-0, step-1, step-2 and 2 more of run not joined")


def test_only_what_is_shown_is_spoken_of() -> None:
    assert left_out_notes([LeftOut("run", "step-1", "a")], {("run", "b")}) == []


def test_figures_that_are_missing_for_the_same_reason_share_a_line() -> None:
    rows = [
        measurement(task=task, step=step, value=None, reason="none of its tasks has this metric")
        for task in ("a", "b")
        for step in (1, 2)
    ]
    assert reason_notes([measurement(), *rows]) == ["no acc of a, b: none of its tasks has this metric"]
    many = [measurement(value=None, reason=f"too large ({i})") for i in range(8)]
    assert reason_notes(many)[-1] == "3 more metrics are missing"
