"""What is missing is said once for all tasks that it holds for."""

from __future__ import annotations

from milepost.report.notes import reason_notes
from tests.analysis.made import measurement


def test_figures_that_are_missing_for_the_same_reason_share_a_line() -> None:
    rows = [
        measurement(task=task, step=step, value=None, reason="none of its tasks has this metric")
        for task in ("a", "b")
        for step in (1, 2)
    ]
    assert reason_notes([measurement(), *rows]) == ["no acc of a, b: none of its tasks has this metric"]
    many = [measurement(value=None, reason=f"too large ({i})") for i in range(8)]
    assert reason_notes(many)[-1] == "3 more metrics are missing"
