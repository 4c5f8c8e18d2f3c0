"""Read the docs' values of a metric of a task or group at the checkpoints of a series."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from milepost.store import file_state
from milepost.store.columns import DocMetricsTable
from milepost.store.index import ResultsIndex
from milepost.store.picked_values import PICKED, PickedValues
from milepost.store.tables import read_table
from milepost.store.task_metrics import TaskMetrics
from milepost.types.histories import TaskDocs


class DocHistory:
    """Reads docs' values of metrics of a results folder; each file once.

    Args:
        index: of the folder.
        metrics: those that will be needed.
    """

    def __init__(self, index: ResultsIndex, metrics: Collection[str]) -> None:
        self._index = index
        self._tasks: dict[tuple[str, str], list[TaskMetrics]] = {}
        for task in index.tasks(()):
            self._tasks.setdefault((task.series, task.label), []).append(task)
        self._picks = PickedValues(index.folder, metrics)

    def parts(
        self, series: str, task: str, metric: str, filter_name: str, checkpoints: Collection[str]
    ) -> list[TaskDocs] | None:
        """Return the tasks that a metric is made of; None where a checkpoint lacks the docs' values.

        Args:
            task: as it was asked: `TaskMetrics.label`.
            checkpoints: names of those that are wanted, such as all that have the metric.

        Raises:
            ResultsError: a damaged record.
        """
        places = [place for place in self._tasks[series, task] if place.checkpoint.name in checkpoints]
        if not places[0].is_group:
            values = [self._values(place, place.task, metric, filter_name) for place in places]
            return None if any(own is None for own in values) else [TaskDocs(values, 1.0)]
        plan = self._index.plan(places[-1].plan_id)
        group = places[-1].task
        by_size = plan.weighs_by_size(group, metric)
        parts = []
        for member in plan.members(group):
            values = [self._values(place, member, metric, filter_name) for place in places]
            if any(own is None for own in values):
                return None
            parts.append(TaskDocs(values, 1.0 if by_size else 1.0 / plan.task(member).n_docs))
        return parts or None

    def _values(self, place: TaskMetrics, task: str, metric: str, filter_name: str) -> Any:
        if metric in PICKED and filter_name == "none":
            picks = self._picks.of((place.plan_id, *place.checkpoint.model), task)
            if picks is not None:
                return picks[PICKED[metric]].astype(float)
        return self._stored(place, task, metric, filter_name)

    def _stored(self, place: TaskMetrics, task: str, metric: str, filter_name: str) -> Any:
        planned = self._index.plan(place.plan_id).by_name.get(task)
        if planned is None:
            return None
        path = self._index.folder.doc_metrics_path(planned.counted_id, *place.checkpoint.model)
        if not file_state.exists(path):
            return None
        return DocMetricsTable(read_table(path)).values(metric, filter_name)
