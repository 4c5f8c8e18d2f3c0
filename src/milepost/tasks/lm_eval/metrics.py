"""Answers to figures, by lm_eval's own code: filters, per-doc metrics, aggregation, group weighting.

A figure that cannot be computed is left out with its reason (`guarded`), and all others are computed.
Only the standard errors that lm_eval bootstraps (perplexity and other non-means: 100,000 resamples of the
whole task, minutes for LAMBADA) or does not give at all (word_perplexity) are computed here, see `stderr`.
Source: lm_eval/evaluator.py `evaluate` after the model has answered; lm_eval/evaluator_utils.py.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean, nanmean
from lm_eval.api.task import Task
from lm_eval.evaluator_utils import EvalAcc
from lm_eval.utils import handle_non_serializable

from milepost.tasks.lm_eval.chance import chance_levels
from milepost.tasks.lm_eval.docs import docs_of
from milepost.tasks.lm_eval.guarded import (
    DocError,
    Reasons,
    aggregate,
    aggregate_groups,
    aggregation_of,
    apply_filters,
    doc_values,
)
from milepost.tasks.lm_eval.loading import LoadedTasks
from milepost.tasks.lm_eval.perplexity.text_task import TextTask
from milepost.tasks.lm_eval.requests import true_doc_id
from milepost.tasks.lm_eval.shortcuts import compiled_templates
from milepost.tasks.lm_eval.squad import is_squad, metric_loaded_once, values_of_docs
from milepost.tasks.lm_eval.stderr import standard_error
from milepost.tasks.question_source import DocMetrics, Evaluation, MissingMetric, Responses

logger = logging.getLogger("milepost.tasks")


RawMetrics = dict[tuple[str, str], list[Any]]
"""(metric, filter) to the values of the docs that have the metric."""


def compute_metrics(loaded: LoadedTasks, responses: Mapping[str, Responses]) -> Evaluation:
    """Figures of every task and group from a checkpoint's answers.

    A task with a NaN answer has no figures (value None): a number that leaves out what the model could not
    answer would look like a result. Likewise a task of which one doc cannot be counted, and a single metric
    that cannot be computed; `Evaluation.reasons` says why.
    """
    docs: dict[str, DocMetrics] = {}
    missing: dict[str, int] = {}
    raw: dict[str, RawMetrics] = {}
    reasons = Reasons()
    with compiled_templates(loaded.settings), metric_loaded_once(loaded.tasks.values()):
        for name in loaded.tasks:
            answers = responses[name]
            bad = answers.n_unanswered()
            if answers.raised is not None:
                reasons.noted.append(MissingMetric(name, None, None, answers.raised))
                missing[name] = 0
                continue
            if bad:
                missing[name] = bad
                continue
            docs[name], raw[name] = _score_docs(loaded, name, answers, reasons)
            if not docs[name].doc_id:
                del docs[name], raw[name]
                missing[name] = 0
        results = aggregate(loaded, raw, reasons)
    _fill_standard_errors(loaded, results, raw, docs, reasons)
    aggregate_groups(results, _groups_lacking(loaded, missing), reasons)
    tables = _without_nan(json.loads(json.dumps(results._to_eval_results(), default=handle_non_serializable)))
    rows = _rows(loaded, results, missing, docs, raw, reasons)
    return Evaluation(rows, docs, tables, missing, reasons.noted)


def _score_docs(
    loaded: LoadedTasks, name: str, answers: Responses, reasons: Reasons
) -> tuple[DocMetrics, RawMetrics]:
    """Filter and count the answers of one task; no docs where no filter's answers could be counted."""
    task, settings = loaded.tasks[name], loaded.settings
    samples = settings.samples_of(name)
    if isinstance(task, TextTask) and task.windows is not None:
        samples = None
        iterator = task.window_docs(answers.n_targets)
    else:
        iterator = docs_of(loaded, name)
    bounds = np.searchsorted(answers.doc_ids, [true_doc_id(i, samples) for i, _ in iterator])
    ends = [*bounds[1:], len(answers.doc_ids)]
    repeats = task.get_config("repeats") or 1
    instances: list[list[Instance]] = []
    for (doc_id, doc), start, end in zip(iterator, bounds, ends, strict=True):
        instances.append(
            [
                _instance(name, doc_id, doc, answers, int(r), int(r - start), repeats)
                for r in range(start, end)
            ]
        )
    raw: RawMetrics = {}
    rows: list[_DocRow] = []
    for key in apply_filters(task, [instance for group in instances for instance in group], reasons):
        broken: dict[str, Exception] = {}
        own: list[_DocRow] = []
        try:
            for (doc_id, doc), group in zip(iterator, instances, strict=True):
                own.append(_doc_row(task, true_doc_id(doc_id, samples), doc, group, key, broken))
        except DocError as error:
            reasons.note(name, None, key, error)
            continue
        for metric, raised in broken.items():
            reasons.note(name, metric, key, raised)
        for row in own:
            for metric in broken:
                row.values.pop(metric, None)
            for metric, value in row.values.items():
                raw.setdefault((metric, key), []).append(value)
        rows += own
    return _doc_metrics(task, rows, reasons), raw


@dataclass(frozen=True, slots=True)
class _DocRow:
    """What one doc counts in the metrics of one filter."""

    doc_id: int
    filter: str
    filtered: str
    values: dict[str, Any]


def _doc_row(
    task: Task, doc_id: int, doc: Any, instances: list[Instance], key: str, broken: dict[str, Exception]
) -> _DocRow:
    """Raises: DocError if none of the metrics can be computed."""
    try:
        filtered = [instance.filtered_resps[key] for instance in instances]
        raised: dict[str, Exception] = {}
        values = dict(doc_values(task, doc, filtered, raised))
        text = json.dumps(filtered, default=handle_non_serializable)
    except Exception as error:
        raise DocError(doc_id, error) from error
    for metric, reason in raised.items():
        broken.setdefault(metric, DocError(doc_id, reason))
    return _DocRow(doc_id, key, text, values)


def _doc_metrics(task: Task, rows: list[_DocRow], reasons: Reasons) -> DocMetrics:
    metrics = dict.fromkeys(metric for row in rows for metric in row.values)
    columns: dict[str, list[Any]] = {metric: [row.values.get(metric) for row in rows] for metric in metrics}
    values: dict[str, list[float | None]] = {}
    squad = [metric for metric in metrics if is_squad(aggregation_of(task, metric))]
    if squad:
        try:
            values = values_of_docs(columns[squad[0]])
        except Exception as error:  # the aggregations raise it as well: each of the metrics has its reason
            logger.debug("%s: no values of docs", task.task_name, exc_info=error)
    return DocMetrics(
        [row.doc_id for row in rows],
        [row.filter for row in rows],
        columns,
        [row.filtered for row in rows],
        values,
    )


def _groups_lacking(loaded: LoadedTasks, missing: Mapping[str, int]) -> dict[str, str]:
    """Groups with a task that has no figures, to the name of the first such task."""
    found = {}
    for name, group in loaded.groups.items():
        lacking = [task.task_name for task in group.get_all_tasks() if task.task_name in missing]
        if lacking:
            found[name] = lacking[0]
    return found


def _without_nan(value: Any) -> Any:
    """JSON with null in place of the numbers that it cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    return [_without_nan(one) for one in value] if isinstance(value, list) else value


def _instance(
    name: str, doc_id: int, doc: Any, answers: Responses, r: int, index: int, repeats: int
) -> Instance:
    kind = answers.kinds[r]
    return Instance(
        request_type=kind,
        doc=doc,
        arguments=(),
        idx=index,
        metadata=(name, doc_id, repeats),
        resps=_responses(answers, r, repeats),
    )


def _responses(answers: Responses, r: int, repeats: int) -> list[Any]:
    """One per repeat; what does not depend on chance is the same in all of them."""
    if answers.kinds[r] == "generate_until":
        assert answers.generated is not None
        texts = list(answers.generated[r] or ())
        return texts * repeats if len(texts) == 1 else texts
    loglikelihood = float(answers.loglikelihood[r])
    if answers.kinds[r] == "loglikelihood_rolling":
        return [loglikelihood] * repeats
    return [(loglikelihood, bool(answers.greedy[r]))] * repeats


def _fill_standard_errors(
    loaded: LoadedTasks,
    results: EvalAcc,
    raw: Mapping[str, RawMetrics],
    docs: Mapping[str, DocMetrics],
    reasons: Reasons,
) -> None:
    """Add the standard error of every figure that there is; one that cannot be computed is left out."""
    for name, of in raw.items():
        for (metric, key), items in of.items():
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


def _rows(
    loaded: LoadedTasks,
    results: EvalAcc,
    missing: dict[str, int],
    docs: Mapping[str, DocMetrics],
    raw: Mapping[str, RawMetrics],
    reasons: Reasons,
) -> list[dict[str, Any]]:
    chances = {name: _chances(loaded, name) for name in loaded.tasks}
    rows: list[dict[str, Any]] = []
    for name in _display_order(loaded):
        group = loaded.groups.get(name)
        leaves = [task.task_name for task in group.get_all_tasks()] if group else [name]
        lacking = [leaf for leaf in leaves if leaf in missing]
        figures = results.metrics.get(name, {})
        higher = _higher_is_better(loaded, leaves)
        for metric, key in _metric_keys(loaded, name, figures, reasons):
            value = None if lacking else _number(figures.get(f"{metric},{key}"))
            rows.append(
                {
                    "task": name,
                    "metric": metric,
                    "filter": key,
                    "value": value,
                    "stderr": None if value is None else _number(figures.get(f"{metric}_stderr,{key}")),
                    "n": _n_docs(loaded, leaves, metric, key, docs, raw),
                    "chance": _chance(chances, leaves, metric, group, results),
                    "higher_is_better": higher.get(metric),
                    "kind": "group" if group else "task",
                    "alias": str(_alias(loaded, name)),
                    "parents": list(loaded.parents_of(name)),
                    "num_fewshot": _common([loaded.tasks[leaf].get_config("num_fewshot") for leaf in leaves]),
                }
            )
            ends = None if group or value is None else _doc_range(loaded.tasks[name], metric, key, raw[name])
            rows[-1] |= {"doc_range": ends} if ends else {}
            if value is None:
                reason = _reason(name, leaves, metric, key, missing, reasons)
                rows[-1] |= {"reason": reason} if reason else {}
    return rows


def _doc_range(task: Task, metric: str, key: str, raw: RawMetrics) -> tuple[float, float] | None:
    """Lowest and highest of the docs' numbers, where the figure is their mean."""
    if aggregation_of(task, metric) not in (mean, nanmean):
        return None
    numbers = [one for one in raw.get((metric, key), ()) if isinstance(one, int | float | np.number)]
    known = [float(one) for one in numbers if math.isfinite(one)]
    return (min(known), max(known)) if known and len(numbers) == len(raw[metric, key]) else None


def _chances(loaded: LoadedTasks, name: str) -> Mapping[str, float]:
    try:
        return chance_levels(loaded, name)
    except Exception as error:  # a template or function of the task that raises: its figures say so
        logger.debug("%s: no chance level", name, exc_info=error)
        return {}


def _reason(
    name: str, leaves: list[str], metric: str, key: str, missing: Mapping[str, int], reasons: Reasons
) -> str | None:
    """Why a task or group has no such figure."""
    for leaf in leaves:
        own = "" if leaf == name else f"{leaf}: "
        if missing.get(leaf):
            return f"{own}the model gave NaN for {missing[leaf]} requests, or they cannot be scored"
        if reason := reasons.of(leaf, metric, key):
            return own + reason
    return reasons.of(name, metric, key)


def _n_docs(
    loaded: LoadedTasks,
    leaves: list[str],
    metric: str,
    key: str,
    docs: Mapping[str, DocMetrics],
    raw: Mapping[str, RawMetrics],
) -> int:
    """Docs behind a figure: those that have the metric, which need not be all docs of the tasks."""
    n = 0
    for leaf in leaves:
        items = raw.get(leaf, {}).get((metric, key), [])
        if leaf in docs and metric in docs[leaf].values:
            n += sum(own is not None for own in docs[leaf].values[metric])
        elif items and aggregation_of(loaded.tasks[leaf], metric) is nanmean:
            n += int(np.count_nonzero(~np.isnan(np.asarray(items, dtype=float))))
        else:
            n += len(items)
    return n


def _display_order(loaded: LoadedTasks) -> list[str]:
    """Each group before its members, everything in the order asked for."""
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


def _metric_keys(
    loaded: LoadedTasks, name: str, figures: Mapping[str, Any], reasons: Reasons
) -> list[tuple[str, str]]:
    """(metric, filter) pairs of a task or group, in lm_eval's order, also of what could not be computed."""
    found = [
        (metric, key)
        for metric, key in (pair.rsplit(",", 1) for pair in figures if "," in pair)
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
    every = [(metric, pipeline.name) for pipeline in task._filters for metric in task.aggregation()]
    if not found:
        return every
    lost = reasons.metrics_of(name)
    return found + [
        (metric, key)
        for metric, key in every
        if (metric, key) not in found and any(m in (None, metric) and k in (None, key) for m, k in lost)
    ]


def _higher_is_better(loaded: LoadedTasks, leaves: list[str]) -> dict[str, bool | None]:
    merged: dict[str, bool | None] = {}
    for leaf in leaves:
        for metric, higher in loaded.tasks[leaf].higher_is_better().items():
            merged[metric] = higher if merged.setdefault(metric, higher) == higher else None
    return merged


def _chance(
    chances: Mapping[str, Mapping[str, float]], leaves: list[str], metric: str, group: Any, results: EvalAcc
) -> float | None:
    levels = [chances[leaf].get(metric) for leaf in leaves]
    known = [level for level in levels if level is not None]
    if not known or len(known) < len(levels):
        return None
    weighted = group is not None and any(
        a.metric == metric and a.weight_by_size for a in group.aggregate_metric_list or []
    )
    weights = [results.metrics.get(leaf, {}).get("sample_len", 1) if weighted else 1 for leaf in leaves]
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
