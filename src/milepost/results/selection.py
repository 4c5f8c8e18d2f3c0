"""Select the rows that a table, a chart, an export or a page shows of a results folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from milepost.analysis import Row, rows
from milepost.analysis.curves import with_gaps
from milepost.analysis.selection import select, summary_rows
from milepost.errors import ResultsError
from milepost.store.index import ResultsIndex
from milepost.store.task_metrics import EVERY, picks_of
from milepost.types.metrics import Measurement
from milepost.types.picks import Picks


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The rows that a reader wants to see, by names or glob patterns; without patterns all that fit."""

    tasks: Sequence[str] = ()
    metrics: Sequence[str] = ()
    series: Sequence[str] = ()
    subjects: bool = False
    """Every task; else, without `tasks`, only groups and the tasks that no group sums up."""


def select_rows(index: ResultsIndex, selection: Selection = Selection(), *, gaps: bool = True) -> list[Row]:
    """Return the few rows that answer the question: what tables and charts show.

    Without `metrics` these are the first metric of each task.

    Args:
        gaps: include a row without a value for each checkpoint that was visited and has no metrics.

    Raises:
        ResultsError: there is no metric yet, or a pattern matches none; the hint names what there is.
    """
    every = index.metrics(selection.metrics)
    picked = summary_rows(
        every,
        tasks=selection.tasks,
        metrics=selection.metrics,
        series=selection.series,
        subjects=selection.subjects,
    )
    found = rows(picked, every)
    return with_gaps(found, index.missing) if gaps else found


def select_all_rows(index: ResultsIndex, selection: Selection = Selection()) -> list[Row]:
    """Return every task and metric that the patterns leave: what exports hold. Raises as `select_rows`."""
    every = index.metrics(selection.metrics or EVERY)
    picked = select(every, tasks=selection.tasks, metrics=selection.metrics, series=selection.series)
    return rows(picked, every)


def select_picks(index: ResultsIndex, shown: Sequence[Measurement]) -> list[Picks]:
    """Return what was picked on the tasks among `shown`.

    Raises:
        ResultsError: none of them offers choices.
    """
    wanted = {(row.series, row.label) for row in shown}
    found = [picks for picks in picks_of(index.tasks(())) if (picks.series, picks.task) in wanted]
    if not found:
        raise ResultsError(
            "there are no picks of these tasks",
            "only multiple-choice tasks have them; results of an earlier version get them from the same "
            "`milepost run` again, without scoring anything",
        )
    return found
