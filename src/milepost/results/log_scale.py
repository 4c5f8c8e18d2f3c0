"""Find the metrics whose trend is tested as logarithms: perplexities, whatever their names."""

from __future__ import annotations

from collections.abc import Sequence

from milepost.analysis.choice_metrics import HIGHER_IS_BETTER as FREE
from milepost.analysis.doc_values import EXPONENTIAL, read_curve
from milepost.analysis.metric_kinds import is_proportion, is_ratio_scale
from milepost.analysis.task_signal import CurveKey
from milepost.store.doc_history import DocHistory
from milepost.store.metrics_record import MetricRow
from milepost.store.task_metrics import TaskMetrics


def on_log_scale(tasks: Sequence[TaskMetrics], history: DocHistory) -> set[CurveKey]:
    """Return the metrics that are e to the power of a mean over docs.

    lm_eval's own are recognised by name, other metrics by the docs of the last checkpoint (see `doc_values`).
    A group follows its tasks.

    Args:
        tasks: current metrics; only those of each series' last checkpoint count.

    Raises:
        ResultsError: a damaged record.
    """
    last: dict[tuple[str, str], TaskMetrics] = {(task.series, task.label): task for task in tasks}
    found: set[CurveKey] = set()
    for (series, name), task in last.items():
        for row in task.rows:
            if is_ratio_scale(row.metric) or (row.kind == "task" and _is_exponential(history, task, row)):
                found.add((series, name, row.metric, row.filter))
                groups = (
                    label for (own, label), each in last.items() if own == series and each.task in row.parents
                )
                found |= {(series, group, row.metric, row.filter) for group in groups}
    return found


def _is_exponential(history: DocHistory, task: TaskMetrics, row: MetricRow) -> bool:
    if row.metric in FREE or is_proportion(row.metric) or not isinstance(row.value, float):
        return False
    parts = history.parts(task.series, task.label, row.metric, row.filter, {task.checkpoint.name})
    read = read_curve(parts[0].values, [row.value]) if parts else None
    return read is not None and read[0].transform in EXPONENTIAL
