"""What a table or chart does not join to its curves, in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from milepost.safe_text import printable
from milepost.store.index import LeftOut
from milepost.types import Measurement

NAMED = 3
"""Names of one kind that are spelt out; of the rest there is a number."""
MOST_REASONS = 5
"""Lines of missing figures."""


def left_out_notes(left_out: Sequence[LeftOut], shown: Collection[tuple[str, str]]) -> list[str]:
    """A line for each set of checkpoints that was measured with other settings than the newest run.

    Args:
        shown: series and tasks that the reader sees.
    """
    checkpoints: dict[tuple[str, str], list[str]] = {}
    for each in left_out:
        if (each.series, each.task) in shown:
            checkpoints.setdefault((each.series, each.task), []).append(each.checkpoint)
    tasks: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (series, task), names in checkpoints.items():
        tasks.setdefault((series, tuple(names)), []).append(task)
    return [
        f"{listed(of)}: {listed(names)} of {printable(series)} not joined, measured with other settings "
        "(limit, examples, prompts) than the newest run"
        for (series, names), of in tasks.items()
    ]


def reason_notes(rows: Sequence[Measurement]) -> list[str]:
    """A line for each reason why figures among the rows are missing, with the figures it holds for."""
    places: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        if row.value is None and row.reason:
            figure = row.metric if row.filter in ("", "none") else f"{row.metric} ({row.filter})"
            places.setdefault((row.reason, figure), {})[row.task] = None
    notes = [
        f"no {printable(figure)} of {listed(list(tasks))}: {printable(reason)}"
        for (reason, figure), tasks in places.items()
    ]
    more = len(notes) - MOST_REASONS
    return [*notes[:MOST_REASONS], f"{more} more figures are missing"] if more > 0 else notes


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    said = ", ".join(map(printable, names[:NAMED]))
    return said if len(names) <= NAMED else f"{said} and {len(names) - NAMED} more"
