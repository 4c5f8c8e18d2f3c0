"""Which figures of a results folder are perplexities, whatever they are called: their curves are ratios."""

from __future__ import annotations

from collections.abc import Sequence

from milepost.analysis.choice_metrics import HIGHER_IS_BETTER as FREE
from milepost.analysis.doc_values import EXPONENTIAL, read_curve
from milepost.analysis.metric_kinds import is_proportion, is_ratio_scale
from milepost.store.doc_history import DocHistory
from milepost.store.index import TaskMetrics
from milepost.store.metrics_record import MetricRow

CurveKey = tuple[str, str, str, str]
"""Series, task, metric and filter."""


def on_log_scale(tasks: Sequence[TaskMetrics], history: DocHistory) -> set[CurveKey]:
    """Return the metrics whose trend is to be tested as logarithms: e to the power of a mean over docs.

    lm_eval's own are known by name. For any other metric the docs of the last checkpoint decide, by the one
    reading that gives the metric (`doc_values`). A group's are those of its tasks.

    Args:
        tasks: current metrics; only those of each series' last checkpoint count.

    Raises:
        ResultsError: a damaged record.
    """
    last: dict[tuple[str, str], TaskMetrics] = {(task.series, task.task): task for task in tasks}
    found: set[CurveKey] = set()
    for (series, name), task in last.items():
        for row in task.rows:
            if is_ratio_scale(row.metric) or (row.kind == "task" and _by_its_docs(history, task, row)):
                found.add((series, name, row.metric, row.filter))
                found |= {(series, group, row.metric, row.filter) for group in row.parents}
    return found


def _by_its_docs(history: DocHistory, task: TaskMetrics, row: MetricRow) -> bool:
    if row.metric in FREE or is_proportion(row.metric) or not isinstance(row.value, float):
        return False
    parts = history.parts(task.series, task.task, row.metric, row.filter, {task.checkpoint.name})
    read = read_curve(parts[0].values, [row.value]) if parts else None
    return read is not None and read[0].transform in EXPONENTIAL
