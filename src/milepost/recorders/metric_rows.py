"""A checkpoint's rows as a recorder takes them: named figures for curves, and a table of every subject."""

from __future__ import annotations

from collections.abc import Sequence

from milepost.analysis import Row, record
from milepost.analysis.row import RECORD_KEYS
from milepost.analysis.selection import overview
from milepost.recorders.recorder import RecordedTable

NO_FILTER = "none"


def curves_of(rows: Sequence[Row], tasks: set[str]) -> dict[str, float]:
    """`arc_easy/acc`, `arc_easy/acc_stderr`, `gsm8k/exact_match,strict-match`: lm_eval's logger's names.

    Of groups and lone tasks, and of these only `tasks`: the subjects of MMLU would be 57 pictures each, and
    are in the table. Figures that are no number are left out.
    Source: lm_eval/loggers/wandb_logger.py.
    """
    found: dict[str, float] = {}
    for row in overview(rows):
        if row.task not in tasks or row.value is None:
            continue
        counted = "" if row.filter == NO_FILTER else f",{row.filter}"
        found[f"{row.task}/{row.metric}{counted}"] = row.value
        if row.stderr is not None:
            found[f"{row.task}/{row.metric}_stderr{counted}"] = row.stderr
    return found


def subjects_table(rows: Sequence[Row]) -> RecordedTable:
    """Every figure of one checkpoint with its interval, a row each; the columns of `milepost show --json`."""
    return RecordedTable("subjects", RECORD_KEYS, [list(record(row).values()) for row in rows])
