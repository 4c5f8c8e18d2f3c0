"""What is not joined is said once for all tasks that it holds for."""

from __future__ import annotations

from milepost.report.left_out import left_out_notes
from milepost.store.reading import LeftOut


def test_tasks_with_the_same_gaps_share_a_line_and_long_lists_are_cut() -> None:
    left_out = [LeftOut("run", f"step-{i}", task) for task in ("a", "b") for i in range(5)]
    (note,) = left_out_notes(left_out, {("run", "a"), ("run", "b")})
    assert note.startswith("a, b: step-0, step-1, step-2 and 2 more of run not joined")


def test_only_what_is_shown_is_spoken_of() -> None:
    assert left_out_notes([LeftOut("run", "step-1", "a")], {("run", "b")}) == []
