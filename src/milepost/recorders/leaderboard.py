"""The last table of a recorded run, its checkpoints against its tasks: here, and only here, it is made."""

from __future__ import annotations

from collections.abc import Sequence

from milepost.analysis import Row
from milepost.analysis.selection import headline
from milepost.analysis.series import checkpoints
from milepost.recorders.recorder import Table


def final_table(rows: Sequence[Row]) -> Table:
    """Steps down, a column for the first metric of each group and lone task; gaps are empty.

    Args:
        rows: every figure of one series.
    """
    shown = headline(rows)
    columns = list(dict.fromkeys(f"{row.task}/{row.metric}" for row in shown))
    values = {(row.checkpoint, f"{row.task}/{row.metric}"): row.value for row in shown}
    places = [place for of_series in checkpoints(rows).values() for place in of_series]
    return Table(
        "leaderboard",
        ("checkpoint", "step", *columns),
        [
            [place.checkpoint, place.step, *(values.get((place.checkpoint, column)) for column in columns)]
            for place in places
        ],
    )
