"""What a table or chart does not join to its curves, in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from milepost.report.text import printable
from milepost.store.reading import LeftOut

NAMED = 3
"""Names of one kind that are spelt out; of the rest there is a number."""


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


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    said = ", ".join(map(printable, names[:NAMED]))
    return said if len(names) <= NAMED else f"{said} and {len(names) - NAMED} more"
