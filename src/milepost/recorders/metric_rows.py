"""Convert the rows of a checkpoint for a recorder: named metrics for curves, and a table of all tasks."""

from __future__ import annotations

from collections.abc import Sequence

from milepost.analysis import Row, record
from milepost.analysis.row import RECORD_KEYS
from milepost.analysis.selection import overview
from milepost.recorders.recorder import RecordedTable

NO_FILTER = "none"


def curves_of(rows: Sequence[Row], tasks: set[str]) -> dict[str, float]:
    """Return values by the names of lm_eval's logger: `arc_easy/acc`, `gsm8k/exact_match,strict-match`.

    Only groups and lone tasks among `tasks` have curves; the 57 subjects of MMLU are in the table. Missing
    values are left out. Source: lm_eval/loggers/wandb_logger.py.
    """
    found: dict[str, float] = {}
    for row in overview(rows):
        if row.task not in tasks or row.value is None:
            continue
        found[curve_name(row.task, row.metric, row.filter)] = row.value
        if row.stderr is not None:
            found[curve_name(row.task, f"{row.metric}_stderr", row.filter)] = row.stderr
    return found


def curve_name(task: str, metric: str, filter_name: str) -> str:
    """Return the name of a curve: `arc_easy/acc`, `gsm8k/exact_match,strict-match`."""
    return f"{task}/{metric}" + ("" if filter_name == NO_FILTER else f",{filter_name}")


def subjects_table(rows: Sequence[Row]) -> RecordedTable:
    """Return all rows of one checkpoint with intervals, in the columns of `milepost show --json`."""
    return RecordedTable("subjects", RECORD_KEYS, [list(record(row).values()) for row in rows])
