"""Call metric code of lm_eval or of a user; an exception costs the metrics it concerns, not the run.

Source of the order of calls: lm_eval/evaluator.py `evaluate` and lm_eval/evaluator_utils.py.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lm_eval.api.group import Group
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean, nanmean
from lm_eval.api.task import Task
from lm_eval.evaluator_utils import EvalAcc, _collect_groups_bottom_up, _collect_results

from milepost.tasks.lm_eval.bounded_regexes import bounded_regexes
from milepost.tasks.lm_eval.loading import LoadedTasks
from milepost.tasks.lm_eval.perplexity.counting import NOT_A_NUMBER
from milepost.text.safe_text import blanked
from milepost.types.metrics import MissingMetric

logger = logging.getLogger("milepost.tasks")


@dataclass(slots=True)
class Reasons:
    """The metrics of one evaluation that could not be computed."""

    noted: list[MissingMetric] = field(default_factory=list)

    def note(self, task: str, metric: str | None, filter: str | None, error: Exception | str) -> None:
        """Add a reason; an exception's traceback goes to the debug log."""
        if isinstance(error, str):
            self.noted.append(MissingMetric(task, metric, filter, error, "number"))
            return
        logger.debug("%s %s: not computed", task, metric or "", exc_info=error)
        kind = "number" if isinstance(error, OverflowError) else "raised"
        self.noted.append(MissingMetric(task, metric, filter, describe_error(error), kind))

    def expect(self, task: str, metric: str, filter: str, reason: str) -> None:
        """Add a reason that is not a fault."""
        self.noted.append(MissingMetric(task, metric, filter, reason, "expected"))

    def of(self, task: str, metric: str, filter: str) -> str | None:
        """Return the first reason why a metric was not computed; None if it was."""
        found = (item.reason for item in self.noted if item.task == task and item.concerns(metric, filter))
        return next(found, None)


class DocError(Exception):
    """An exception in the metrics of one doc."""

    def __init__(self, doc_id: int, error: Exception) -> None:
        super().__init__(f"doc {doc_id}: {describe_error(error)}")
        self.__cause__ = error


def describe_error(error: Exception) -> str:
    """Return an exception in a few words, for a message."""
    if isinstance(error, DocError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = blanked(lines[0][:300]) if lines else ""
    if isinstance(error, OverflowError):
        return f"too large for a number ({text})"
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind


def apply_filters(task: Task, instances: Sequence[Instance], reasons: Reasons) -> list[str]:
    """Run each filter pipeline of the task; return the names of those that did not raise."""
    names = []
    for pipeline in task._filters:
        try:
            with bounded_regexes(task):
                pipeline.apply(list(instances))
            names.append(pipeline.name)
        except Exception as error:
            reasons.note(task.task_name, None, pipeline.name, error)
    return names


def doc_values(task: Task, doc: Any, filtered: list[Any], broken: dict[str, Exception]) -> Mapping[str, Any]:
    """Return lm_eval's `process_results` of one doc, without the metrics that raise an exception.

    Args:
        broken: the first exception of each metric; added to.

    Raises:
        Exception: the exception of `process_results`, if no metric could be computed.
    """
    try:
        with bounded_regexes(task):
            return _mapping(task.process_results(doc, filtered))
    except Exception:
        own = {} if callable(task.get_config("process_results")) else getattr(task, "_metric_fn_list", {})
        if len(own) < 2:
            raise
        values: dict[str, Any] = {}
        raised: dict[str, Exception] = {}
        for metric in own:
            with _only_metric(task, metric):
                try:
                    with bounded_regexes(task):
                        values |= _mapping(task.process_results(doc, filtered))
                except Exception as error:
                    raised[metric] = error
        if len(raised) == len(own):
            raise
        for metric, reason in raised.items():
            broken.setdefault(metric, reason)
        return values


def _mapping(values: Any) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise TypeError(f"process_results returned {type(values).__name__} instead of a dict")
    return values


@contextmanager
def _only_metric(task: Any, metric: str) -> Iterator[None]:
    """Let the task compute only this metric while the block runs."""
    functions = task._metric_fn_list
    task._metric_fn_list = {metric: functions[metric]}
    try:
        yield
    finally:
        task._metric_fn_list = functions


def aggregate(
    loaded: LoadedTasks, raw: Mapping[str, Mapping[tuple[str, str], list[Any]]], reasons: Reasons
) -> EvalAcc:
    """Return lm_eval's metrics of tasks; NaN for those that cannot be computed.

    Args:
        raw: by task, (metric, filter) to the values of its docs.
    """
    accumulated = {
        name: {
            "task": _GuardedTask(loaded.tasks[name], values, reasons),
            "raw_metrics": values,
            "logged_samples": [],
        }
        for name, values in raw.items()
    }
    return _collect_results(accumulated, loaded.groups, bootstrap_iters=0)


def aggregate_groups(results: EvalAcc, lacking: Mapping[str, str], reasons: Reasons) -> None:
    """Add lm_eval's metrics of groups to `results`.

    Args:
        lacking: by group, the name of a task in it that has no metrics; the group then has NaN, as a mean
            over its other tasks would look like a result.
    """
    for group in _collect_groups_bottom_up(results.groups):
        try:
            own: Any = group.aggregate(results.metrics)
        except Exception as error:
            reasons.note(group.name, None, None, error)
            own = {"alias": group.alias or group.name, "name": group.name}
        for metric, key in () if group.name in lacking else _without_task(group, own):
            has = ", ".join(_metrics_of(group, results)) or "no metrics"
            reasons.expect(group.name, metric, key, f"none of its tasks has this metric; they have {has}")
        if group.name in lacking:
            own = {key: math.nan if "," in key else value for key, value in own.items()}
        results.metrics[group.name] = own
        results.versions[group.name] = group.version


def _without_task(group: Group, own: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield metric and filter of what a group aggregates and lm_eval found in none of its tasks."""
    for wanted in group.aggregate_metric_list or ():
        if wanted.filter_list is None:
            if not any(key.startswith(f"{wanted.metric},") for key in own):
                yield wanted.metric, "none"
        else:
            for name in wanted.filter_list:
                if f"{wanted.metric},{name}" not in own:
                    yield wanted.metric, name


def _metrics_of(group: Group, results: EvalAcc) -> list[str]:
    """Return the metrics of a group's tasks, as `metric (filter)`."""
    keys = dict.fromkeys(
        key for task in group.get_all_tasks() for key in results.metrics.get(task.task_name, {})
    )
    pairs = (key.rsplit(",", 1) for key in keys if "," in key)
    return [
        metric if filter_name == "none" else f"{metric} ({filter_name})"
        for metric, filter_name in pairs
        if not metric.endswith("_stderr")
    ]


def aggregation_of(task: Task, metric: str) -> Callable[[Any], Any]:
    """Return the aggregation of a metric; for a metric that the task does not list, lm_eval's mean."""
    aggregation: Callable[[Any], Any] = task.aggregation().get(metric) or mean
    return aggregation


class _GuardedTask:
    """A task whose aggregations return NaN in place of an exception."""

    def __init__(self, task: Task, values: Mapping[tuple[str, str], list[Any]], reasons: Reasons) -> None:
        self._task = task
        self._reasons = reasons
        # lm_eval calls the aggregations in this order and does not pass the filter.
        self._order = iter(values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def aggregation(self) -> dict[str, Callable[[list[Any]], Any]]:
        """Return only the aggregation of the next metric."""
        metric, key = next(self._order)

        def guarded(items: list[Any]) -> Any:
            try:
                function = aggregation_of(self._task, metric)
                value = function(items)
                _check(self._task.task_name, metric, key, function, items, value, self._reasons)
            except Exception as error:
                self._reasons.note(self._task.task_name, metric, key, error)
                return math.nan
            return value

        return {metric: guarded}


def _check(
    task: str,
    metric: str,
    key: str,
    function: Callable[[Any], Any],
    items: Sequence[Any],
    value: Any,
    reasons: Reasons,
) -> None:
    """Note the reason if the value is not a finite number."""
    if isinstance(value, str) and value == NOT_A_NUMBER:
        reasons.expect(task, metric, key, "too large for a number")
    elif math.isnan(value):
        if function is nanmean and bool(np.isnan(np.asarray(items, dtype=float)).all()):
            reasons.expect(task, metric, key, "none of the docs counts in it")
        else:
            reasons.note(task, metric, key, "the result is NaN")
    elif math.isinf(value):
        reasons.note(task, metric, key, f"the result is {'-' if value < 0 else ''}infinite")
