"""Answers to figures, by lm_eval's own code: filters, per-doc metrics, aggregation, group weighting.

Only the standard errors that lm_eval bootstraps (perplexity and other non-means: 100,000 resamples of the
whole task, minutes for LAMBADA) or does not give at all (word_perplexity) are computed here, see `stderr`.
Source: lm_eval/evaluator.py `evaluate` after the model has answered; lm_eval/evaluator_utils.py.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.evaluator_utils import EvalAcc, _collect_results, aggregate_groups, get_sample_size
from lm_eval.utils import handle_non_serializable

from milepost.tasks.chance import chance_levels
from milepost.tasks.loading import LoadedTasks
from milepost.tasks.perplexity.text_task import TextTask
from milepost.tasks.requests import true_doc_id
from milepost.tasks.shortcuts import compiled_templates
from milepost.tasks.squad import is_squad, metric_loaded_once, values_of_docs
from milepost.tasks.stderr import standard_error


@dataclass(frozen=True, slots=True)
class Responses:
    """A model's answers to one task's requests, in the order of `TaskRequests.requests`."""

    kinds: list[str]
    doc_ids: npt.NDArray[np.int64]
    """[R] the doc of each request, by its place in the split."""
    loglikelihood: npt.NDArray[np.float64]
    """[R] nats."""
    greedy: npt.NDArray[np.bool_]
    """[R]"""
    n_targets: npt.NDArray[np.int64]
    """[R] tokens that were scored."""
    generated: Sequence[Sequence[str] | None] | None = None
    """[R] the texts of each request that asked for any; None in all where none did."""

    def lacking(self) -> int:
        """Requests that the model gave no numbers for."""
        if self.generated is None:
            return int(np.isnan(self.loglikelihood).sum())
        return sum(
            texts is None if kind == "generate_until" else math.isnan(score)
            for kind, texts, score in zip(self.kinds, self.generated, self.loglikelihood, strict=True)
        )


@dataclass(frozen=True, slots=True)
class DocMetrics:
    """Per-doc metrics of one task: one row per doc and filter."""

    doc_id: list[int]
    filter: list[str]
    metrics: dict[str, list[Any]]
    """By metric; a number, or what lm_eval aggregates (such as a log-likelihood and a word count)."""
    filtered: list[str]
    """JSON of the filtered responses."""
    values: dict[str, list[float | None]]
    """Of metrics that are no numbers until aggregated and then means over docs: each doc's own number; None
    for docs that do not count."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything lm_eval has to say about one checkpoint."""

    rows: list[dict[str, Any]]
    """One per task or group, metric and filter; the keys of `types.Measurement` less the checkpoint's."""
    docs: dict[str, DocMetrics]
    lm_eval: dict[str, Any]
    """`results`, `groups`, `configs`, ... as lm_eval's own results file has them."""
    missing: dict[str, int]
    """Tasks without figures, because the model gave NaN, with the number of such requests."""


def compute_metrics(loaded: LoadedTasks, responses: Mapping[str, Responses]) -> Evaluation:
    """Figures of every task and group from a checkpoint's answers.

    A task with a NaN answer has no figures (value None): a number that leaves out what the model could not
    answer would look like a result.
    """
    docs: dict[str, DocMetrics] = {}
    missing: dict[str, int] = {}
    accumulated: dict[str, Any] = {}
    with compiled_templates(loaded.settings), metric_loaded_once(loaded.tasks.values()):
        for name, task in loaded.tasks.items():
            answers = responses[name]
            bad = answers.lacking()
            if bad:
                missing[name] = bad
                continue
            docs[name], raw = _score_docs(loaded, name, answers)
            accumulated[name] = {"task": task, "raw_metrics": raw, "logged_samples": []}
        results = _collect_results(accumulated, loaded.groups, bootstrap_iters=0)
    _fill_standard_errors(results, accumulated, docs)
    results = aggregate_groups(results)
    tables = json.loads(json.dumps(results._to_eval_results(), default=handle_non_serializable))
    return Evaluation(_rows(loaded, results, missing, docs), docs, tables, missing)


def _score_docs(
    loaded: LoadedTasks, name: str, answers: Responses
) -> tuple[DocMetrics, dict[tuple[str, str], list[Any]]]:
    task, settings = loaded.tasks[name], loaded.settings
    samples = settings.samples_of(name)
    if isinstance(task, TextTask) and task.windows is not None:
        samples = None
        iterator = task.window_docs(answers.n_targets)
    else:
        iterator = list(task.doc_iterator(limit=get_sample_size(task, settings.limit), samples=samples))
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
    flat = [instance for group in instances for instance in group]
    for pipeline in task._filters:
        pipeline.apply(flat)

    raw: dict[tuple[str, str], list[Any]] = defaultdict(list)
    table = DocMetrics([], [], defaultdict(list), [], {})
    for key in flat[0].filtered_resps:
        for (doc_id, doc), group in zip(iterator, instances, strict=True):
            filtered = [instance.filtered_resps[key] for instance in group]
            values = task.process_results(doc, filtered)
            table.doc_id.append(true_doc_id(doc_id, samples))
            table.filter.append(key)
            table.filtered.append(json.dumps(filtered, default=handle_non_serializable))
            for metric, value in values.items():
                raw[(metric, key)].append(value)
                column = table.metrics[metric]
                column += [None] * (len(table.doc_id) - 1 - len(column))
                column.append(value)
    for column in table.metrics.values():
        column += [None] * (len(table.doc_id) - len(column))
    squad = [metric for metric in table.metrics if is_squad(task.aggregation().get(metric, mean))]
    if squad:
        table.values.update(values_of_docs(table.metrics[squad[0]]))
    return table, raw


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
    results: EvalAcc, accumulated: dict[str, Any], docs: Mapping[str, DocMetrics]
) -> None:
    for name, gathered in accumulated.items():
        aggregations = gathered["task"].aggregation()
        for (metric, key), items in gathered["raw_metrics"].items():
            aggregation = aggregations.get(metric, mean)
            if is_squad(aggregation):
                own = [value for value in docs[name].values.get(metric, ()) if value is not None]
                error = standard_error(mean, own)
            else:
                error = standard_error(aggregation, items)
            results.metrics[name][f"{metric}_stderr,{key}"] = "N/A" if error is None else error


def _rows(
    loaded: LoadedTasks, results: EvalAcc, missing: dict[str, int], docs: Mapping[str, DocMetrics]
) -> list[dict[str, Any]]:
    chances = {name: chance_levels(loaded, name) for name in loaded.tasks}
    rows: list[dict[str, Any]] = []
    for name in _display_order(loaded):
        group = loaded.groups.get(name)
        leaves = [task.task_name for task in group.get_all_tasks()] if group else [name]
        lacking = [leaf for leaf in leaves if leaf in missing]
        figures = results.metrics.get(name, {})
        higher = _higher_is_better(loaded, leaves)
        for metric, key in _metric_keys(loaded, name, figures, results):
            value = None if lacking else _number(figures.get(f"{metric},{key}"))
            counts = figures.get("sample_count", {})
            n = int(counts.get(f"{metric},{key}", figures.get("sample_len", 0)))
            if name in docs and metric in docs[name].values:
                n = sum(own is not None for own in docs[name].values[metric])
            rows.append(
                {
                    "task": name,
                    "metric": metric,
                    "filter": key,
                    "value": value,
                    "stderr": None if value is None else _number(figures.get(f"{metric}_stderr,{key}")),
                    "n": n,
                    "chance": _chance(chances, leaves, metric, group, results),
                    "higher_is_better": higher.get(metric),
                    "kind": "group" if group else "task",
                    "alias": str(_alias(loaded, name)),
                    "parents": list(loaded.parents_of(name)),
                    "num_fewshot": _common([loaded.tasks[leaf].get_config("num_fewshot") for leaf in leaves]),
                }
            )
    return rows


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
    loaded: LoadedTasks, name: str, figures: Mapping[str, Any], results: EvalAcc
) -> list[tuple[str, str]]:
    """(metric, filter) pairs of a task or group, in lm_eval's order; without figures, those it would have."""
    found = [
        (metric, key)
        for metric, key in (pair.rsplit(",", 1) for pair in figures if "," in pair)
        if not metric.endswith("_stderr")
    ]
    if found:
        return found
    if name in loaded.groups:
        return [
            (aggregated.metric, key)
            for aggregated in loaded.groups[name].aggregate_metric_list or []
            for key in (aggregated.filter_list or ["none"])
        ]
    task = loaded.tasks[name]
    return [(metric, pipeline.name) for pipeline in task._filters for metric in task.aggregation()]


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
