"""Rate the tasks of a results folder: which are worth watching at this scale."""

from __future__ import annotations

from milepost.analysis.selection import select
from milepost.analysis.task_signal import TaskSignal, task_signals
from milepost.results.selection import Selection
from milepost.store.index import ResultsIndex
from milepost.store.task_metrics import measurements_of, picks_of
from milepost.types.metrics import Measurement


def rate_tasks(
    index: ResultsIndex, selection: Selection, last: int
) -> tuple[list[TaskSignal], list[Measurement]]:
    """Rate every task and group that the patterns leave, over its series of checkpoints.

    Args:
        selection: its `tasks` and `series`.
        last: checkpoints at either end that are taken together, at most.

    Returns:
        The ratings, and the metrics on which they rest.

    Raises:
        ResultsError: there is no metric yet, a pattern matches nothing, or a damaged record.
    """
    asked = {row.task for row in select(index.metrics(()), tasks=selection.tasks, series=selection.series)}
    tasks = index.tasks_named(asked)
    picked = select(measurements_of(tasks), tasks=selection.tasks, series=selection.series)
    return task_signals(picked, picks_of(tasks), last), picked
