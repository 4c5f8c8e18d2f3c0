"""Filter a task's answers and compute the metrics of each doc, by lm_eval's own code."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.task import Task
from lm_eval.utils import handle_non_serializable

from milepost.tasks.lm_eval.docs import docs_of
from milepost.tasks.lm_eval.guarded import DocError, Reasons, aggregation_of, apply_filters, doc_values
from milepost.tasks.lm_eval.loading import LoadedTasks
from milepost.tasks.lm_eval.perplexity.text_task import TextTask
from milepost.tasks.lm_eval.requests import true_doc_id
from milepost.tasks.lm_eval.squad import is_squad, values_of_docs
from milepost.tasks.question_source import DocMetrics, Responses

logger = logging.getLogger("milepost.tasks")

RawMetrics = dict[tuple[str, str], list[Any]]
"""(metric, filter) to the values of the docs that have the metric."""


@dataclass(frozen=True, slots=True)
class _DocRow:
    """The metrics of one doc and filter."""

    doc_id: int
    filter: str
    filtered: str
    """JSON of the filtered answers."""
    values: dict[str, Any]
    """By metric."""


@dataclass(frozen=True, slots=True)
class _AnsweredDoc:
    """A doc and lm_eval's instances of its requests, with the answers."""

    doc_id: int
    """Position in the split."""
    doc: Any
    instances: list[Instance]


def compute_doc_metrics(
    loaded: LoadedTasks, name: str, answers: Responses, reasons: Reasons
) -> tuple[DocMetrics, RawMetrics]:
    """Compute the metrics of each doc of a task for each filter.

    A filter that raises an exception on a doc, or whose metrics all do, has no rows; a metric that raises on
    a doc is left out for all docs. Both are added to `reasons`.
    """
    task = loaded.tasks[name]
    docs = _answered_docs(loaded, name, answers)
    raw: RawMetrics = {}
    rows: list[_DocRow] = []
    for key in apply_filters(task, [instance for doc in docs for instance in doc.instances], reasons):
        broken: dict[str, Exception] = {}
        try:
            filter_rows = [_doc_row(task, doc, key, broken) for doc in docs]
        except DocError as error:
            reasons.note(name, None, key, error)
            continue
        for metric, raised in broken.items():
            reasons.note(name, metric, key, raised)
        for row in filter_rows:
            for metric in broken:
                row.values.pop(metric, None)
            for metric, value in row.values.items():
                raw.setdefault((metric, key), []).append(value)
        rows += filter_rows
    return _doc_metrics(task, rows), raw


def _answered_docs(loaded: LoadedTasks, name: str, answers: Responses) -> list[_AnsweredDoc]:
    task, samples = loaded.tasks[name], loaded.settings.samples_of(name)
    if isinstance(task, TextTask) and task.windows is not None:
        samples = None
        docs = task.window_docs(answers.n_targets)
    else:
        docs = docs_of(loaded, name)
    doc_ids = [true_doc_id(doc_id, samples) for doc_id, _ in docs]
    bounds = [*np.searchsorted(answers.doc_ids, doc_ids).tolist(), len(answers.doc_ids)]
    repeats = task.get_config("repeats") or 1

    def instance(number: int, doc: Any, request: int, index: int) -> Instance:
        return Instance(
            request_type=answers.kinds[request],
            doc=doc,
            arguments=(),
            idx=index,
            metadata=(name, number, repeats),
            resps=_responses(answers, request, repeats),
        )

    return [
        _AnsweredDoc(doc_id, doc, [instance(number, doc, r, r - start) for r in range(start, end)])
        for doc_id, (number, doc), start, end in zip(doc_ids, docs, bounds[:-1], bounds[1:], strict=True)
    ]


def _responses(answers: Responses, request: int, repeats: int) -> list[Any]:
    """Return an answer per repeat; answers that are not drawn at random are repeated."""
    if answers.kinds[request] == "generate_until":
        assert answers.generated is not None
        texts = list(answers.generated[request] or ())
        return texts * repeats if len(texts) == 1 else texts
    loglikelihood = float(answers.loglikelihood[request])
    if answers.kinds[request] == "loglikelihood_rolling":
        return [loglikelihood] * repeats
    return [(loglikelihood, bool(answers.greedy[request]))] * repeats


def _doc_row(task: Task, answered: _AnsweredDoc, key: str, broken: dict[str, Exception]) -> _DocRow:
    """Compute the metrics of a doc; a metric that raises an exception is added to `broken`.

    Raises:
        DocError: every metric raises one.
    """
    try:
        filtered = [instance.filtered_resps[key] for instance in answered.instances]
        raised: dict[str, Exception] = {}
        values = dict(doc_values(task, answered.doc, filtered, raised))
        text = json.dumps(filtered, default=handle_non_serializable)
    except Exception as error:
        raise DocError(answered.doc_id, error) from error
    for metric, reason in raised.items():
        broken.setdefault(metric, DocError(answered.doc_id, reason))
    return _DocRow(answered.doc_id, key, text, values)


def _doc_metrics(task: Task, rows: list[_DocRow]) -> DocMetrics:
    metrics = dict.fromkeys(metric for row in rows for metric in row.values)
    columns: dict[str, list[Any]] = {metric: [row.values.get(metric) for row in rows] for metric in metrics}
    values: dict[str, list[float | None]] = {}
    squad = [metric for metric in metrics if is_squad(aggregation_of(task, metric))]
    if squad:
        try:
            values = values_of_docs(columns[squad[0]])
        except Exception as error:  # the aggregations raise it too, which gives each metric its reason
            logger.debug("%s: no values of docs", task.task_name, exc_info=error)
    return DocMetrics(
        [row.doc_id for row in rows],
        [row.filter for row in rows],
        columns,
        [row.filtered for row in rows],
        values,
    )
