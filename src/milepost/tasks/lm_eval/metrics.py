"""Compute lm_eval's metrics from a model's answers, by lm_eval's own code.

A metric that cannot be computed has the value None and a reason (`guarded`); all others are computed.
Standard errors that lm_eval bootstraps (perplexity and other non-means: 100,000 resamples of the whole task,
minutes for LAMBADA) or does not give at all (word_perplexity) are computed by `stderr`.
Source: lm_eval/evaluator.py `evaluate` after the model has answered; lm_eval/evaluator_utils.py.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

from lm_eval.api.metrics import mean
from lm_eval.api.task import Task
from lm_eval.evaluator_utils import EvalAcc
from lm_eval.utils import handle_non_serializable

from milepost.tasks.lm_eval.doc_metrics import RawMetrics, compute_doc_metrics
from milepost.tasks.lm_eval.guarded import Reasons, aggregate, aggregate_groups, aggregation_of
from milepost.tasks.lm_eval.loading import LoadedTasks
from milepost.tasks.lm_eval.metric_rows import Computed, metric_rows
from milepost.tasks.lm_eval.shortcuts import compiled_templates
from milepost.tasks.lm_eval.squad import is_squad, metric_loaded_once
from milepost.tasks.lm_eval.stderr import standard_error
from milepost.tasks.question_source import DocMetrics, Evaluation, Responses
from milepost.types.metrics import MissingMetric

logger = logging.getLogger("milepost.tasks")


def compute_metrics(loaded: LoadedTasks, responses: Mapping[str, Responses]) -> Evaluation:
    """Return the metrics of every task and group of one checkpoint.

    A task with a NaN answer has no metrics (value None): a number that leaves out what the model could not
    answer would look like a result. The same holds for a task with a doc whose metrics raise an exception.
    """
    docs: dict[str, DocMetrics] = {}
    missing: dict[str, int] = {}
    raw: dict[str, RawMetrics] = {}
    reasons = Reasons()
    with compiled_templates(loaded.settings), metric_loaded_once(loaded.tasks.values()):
        for name in loaded.tasks:
            answers = responses[name]
            if answers.raised is not None:
                reasons.noted.append(MissingMetric(name, None, None, answers.raised))
                missing[name] = 0
            elif n_unanswered := answers.n_unanswered():
                missing[name] = n_unanswered
            else:
                doc_metrics, values = compute_doc_metrics(loaded, name, answers, reasons)
                if doc_metrics.doc_id:
                    docs[name], raw[name] = doc_metrics, values
                else:
                    missing[name] = 0
        results = aggregate(loaded, raw, reasons)
    _add_standard_errors(loaded, results, raw, docs, reasons)
    aggregate_groups(results, _incomplete_groups(loaded, missing), reasons)
    tables = _without_nan(json.loads(json.dumps(results._to_eval_results(), default=handle_non_serializable)))
    rows = metric_rows(Computed(loaded, results, missing, docs, raw, reasons))
    return Evaluation(rows, docs, tables, missing, reasons.noted)


def _incomplete_groups(loaded: LoadedTasks, missing: Mapping[str, int]) -> dict[str, str]:
    """Return the groups with a task without metrics, and the name of the first such task."""
    found = {}
    for name, group in loaded.groups.items():
        lacking = [task.task_name for task in group.get_all_tasks() if task.task_name in missing]
        if lacking:
            found[name] = lacking[0]
    return found


def _without_nan(value: Any) -> Any:
    """Return JSON with null in place of the numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return [_without_nan(item) for item in value] if isinstance(value, list) else value


def _add_standard_errors(
    loaded: LoadedTasks,
    results: EvalAcc,
    raw: Mapping[str, RawMetrics],
    docs: Mapping[str, DocMetrics],
    reasons: Reasons,
) -> None:
    """Add a standard error to each metric in `results`; lm_eval's `N/A` if it cannot be computed."""
    for name, values in raw.items():
        for (metric, key), items in values.items():
            error = None
            if reasons.of(name, metric, key) is None:
                try:
                    error = _standard_error(loaded.tasks[name], metric, items, docs[name])
                except Exception as raised:
                    logger.debug("%s %s: no standard error", name, metric, exc_info=raised)
            results.metrics[name][f"{metric}_stderr,{key}"] = "N/A" if error is None else error


def _standard_error(task: Task, metric: str, items: list[Any], docs: DocMetrics) -> float | None:
    aggregation = aggregation_of(task, metric)
    if is_squad(aggregation):
        return standard_error(mean, [value for value in docs.values.get(metric, ()) if value is not None])
    return standard_error(aggregation, items)
