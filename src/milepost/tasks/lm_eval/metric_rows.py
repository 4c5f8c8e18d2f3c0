"""Turn lm_eval's results into rows: one per task or group, metric and filter."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from lm_eval.api.group import Group
from lm_eval.api.metrics import mean, nanmean
from lm_eval.evaluator_utils import EvalAcc

from milepost.tasks.lm_eval.chance import chance_levels
from milepost.tasks.lm_eval.doc_metrics import RawMetrics
from milepost.tasks.lm_eval.guarded import Reasons, aggregation_of
from milepost.tasks.lm_eval.loading import LoadedTasks
from milepost.tasks.question_source import DocMetrics

logger = logging.getLogger("milepost.tasks")

MetricKey = tuple[str, str]
"""Metric and filter."""


@dataclass(frozen=True, slots=True)
class Computed:
    """Everything that lm_eval computed for one checkpoint."""

    loaded: LoadedTasks
    results: EvalAcc
    """Metrics of tasks and groups, as lm_eval keys them: `metric,filter` and `metric_stderr,filter`."""
    missing: Mapping[str, int]
    """As in `question_source.Evaluation`."""
    docs: Mapping[str, DocMetrics]
    """By task."""
    raw: Mapping[str, RawMetrics]
    """By task."""
    reasons: Reasons


def metric_rows(computed: Computed) -> list[dict[str, Any]]:
    """Return a row for each metric, also for those that could not be computed; see `Evaluation.rows`."""
    loaded = computed.loaded
    chances = {name: _chance_levels(loaded, name) for name in loaded.tasks}
    rows = []
    for name in _display_order(loaded):
        group = loaded.groups.get(name)
        leaves = [task.task_name for task in group.get_all_tasks()] if group else [name]
        metrics = computed.results.metrics.get(name, {})
        higher = _higher_is_better(loaded, leaves)
        lacks_task = any(leaf in computed.missing for leaf in leaves)
        for metric, key in _metric_keys(computed, name, metrics):
            value = None if lacks_task else _number(metrics.get(f"{metric},{key}"))
            row: dict[str, Any] = {
                "task": name,
                "metric": metric,
                "filter": key,
                "value": value,
                "stderr": None if value is None else _number(metrics.get(f"{metric}_stderr,{key}")),
                "n": sum(_n_docs(computed, leaf, metric, key) for leaf in leaves),
                "chance": _chance(
                    [chances[leaf].get(metric) for leaf in leaves], computed, leaves, group, metric
                ),
                "higher_is_better": higher.get(metric),
                "kind": "group" if group else "task",
                "alias": str(_alias(loaded, name)),
                "parents": list(loaded.parents_of(name)),
                "num_fewshot": _common([loaded.tasks[leaf].get_config("num_fewshot") for leaf in leaves]),
            }
            if value is None:
                if reason := _reason(computed, name, leaves, metric, key):
                    row["reason"] = reason
            elif group is None and (doc_range := _doc_range(computed, name, metric, key)):
                row["doc_range"] = doc_range
            rows.append(row)
    return rows


def _doc_range(computed: Computed, task: str, metric: str, key: str) -> tuple[float, float] | None:
    """Return the lowest and highest number of the docs, if the metric is their mean."""
    if aggregation_of(computed.loaded.tasks[task], metric) not in (mean, nanmean):
        return None
    values = computed.raw[task].get((metric, key), [])
    numbers = [value for value in values if isinstance(value, int | float | np.number)]
    known = [float(number) for number in numbers if math.isfinite(number)]
    return (min(known), max(known)) if known and len(numbers) == len(values) else None


def _chance_levels(loaded: LoadedTasks, name: str) -> Mapping[str, float]:
    try:
        return chance_levels(loaded, name)
    except Exception as error:  # a template or function of the task raises; its metrics have the reason
        logger.debug("%s: no chance level", name, exc_info=error)
        return {}


def _reason(computed: Computed, name: str, leaves: list[str], metric: str, key: str) -> str | None:
    """Return the reason why a task or group does not have this metric."""
    for leaf in leaves:
        prefix = "" if leaf == name else f"{leaf}: "
        if n_requests := computed.missing.get(leaf):
            return f"{prefix}the model gave NaN for {n_requests} requests, or they cannot be scored"
        if reason := computed.reasons.of(leaf, metric, key):
            return prefix + reason
    return computed.reasons.of(name, metric, key)


def _n_docs(computed: Computed, task: str, metric: str, key: str) -> int:
    """Return the number of a task's docs that have the metric."""
    values = computed.raw.get(task, {}).get((metric, key), [])
    if task in computed.docs and metric in computed.docs[task].values:
        return sum(value is not None for value in computed.docs[task].values[metric])
    if values and aggregation_of(computed.loaded.tasks[task], metric) is nanmean:
        return int(np.count_nonzero(~np.isnan(np.asarray(values, dtype=float))))
    return len(values)


def _display_order(loaded: LoadedTasks) -> list[str]:
    """Return all tasks and groups in the order of the command, each group before its members."""
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in order:
            return
        order[name] = None
        if name in loaded.groups:
            for child in loaded.groups[name].child_names:
                visit(child)

    for name in loaded.groups:
        if not loaded.parents_of(name):
            visit(name)
    for name in loaded.tasks:
        visit(name)
    return list(order)


def _metric_keys(computed: Computed, name: str, metrics: Mapping[str, Any]) -> list[MetricKey]:
    """Return the keys of a task's or group's metrics in lm_eval's order, those without a value too."""
    loaded, reasons = computed.loaded, computed.reasons
    found = [
        (metric, key)
        for metric, key in (name_of.rsplit(",", 1) for name_of in metrics if "," in name_of)
        if not metric.endswith("_stderr")
    ]
    if name in loaded.groups:
        listed = [
            (aggregated.metric, key)
            for aggregated in loaded.groups[name].aggregate_metric_list or []
            for key in (aggregated.filter_list or ["none"])
        ]
        return found + [pair for pair in listed if reasons.of(name, *pair)] if found else listed
    task = loaded.tasks[name]
    possible = [(metric, pipeline.name) for pipeline in task._filters for metric in task.aggregation()]
    if not found:
        return possible
    return found + [pair for pair in possible if pair not in found and reasons.of(name, *pair) is not None]


def _higher_is_better(loaded: LoadedTasks, leaves: Iterable[str]) -> dict[str, bool | None]:
    """Return the direction of each metric; None where the tasks differ."""
    merged: dict[str, bool | None] = {}
    for leaf in leaves:
        for metric, higher in loaded.tasks[leaf].higher_is_better().items():
            merged[metric] = higher if merged.setdefault(metric, higher) == higher else None
    return merged


def _chance(
    levels: list[float | None], computed: Computed, leaves: list[str], group: Group | None, metric: str
) -> float | None:
    """Return the mean chance level of the tasks, weighted as the group weighs the metric."""
    known = [level for level in levels if level is not None]
    if not known or len(known) < len(levels):
        return None
    weighted = group is not None and any(
        aggregated.metric == metric and aggregated.weight_by_size
        for aggregated in group.aggregate_metric_list or []
    )
    metrics = computed.results.metrics
    weights = [metrics.get(leaf, {}).get("sample_len", 1) if weighted else 1 for leaf in leaves]
    return float(np.average(known, weights=weights))


def _alias(loaded: LoadedTasks, name: str) -> str:
    if name in loaded.groups:
        return loaded.groups[name].alias or name
    return loaded.tasks[name].get_config("task_alias") or name


def _common(values: list[int | None]) -> int | None:
    return values[0] if len(set(values)) == 1 else None


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, str) or not math.isfinite(float(value)):
        return None
    return float(value)
