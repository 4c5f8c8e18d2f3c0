"""Read the answers of one checkpoint, doc by doc: the values by which two models are compared.

A doc is known by lm_eval's hash of it, so that two results folders can be compared whatever their limits,
their order of docs, or the version of their task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from milepost.errors import ResultsError
from milepost.result_types import GroupAnswers, ModelAnswers, TaskAnswers
from milepost.store.columns import DocMetricsTable
from milepost.store.folder import ResultsFolder
from milepost.store.index import ResultsIndex
from milepost.store.reading import newest_command
from milepost.store.records import CheckpointRecord, PlannedTask, PlanRecord
from milepost.store.tables import read_table
from milepost.types import Measurement

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class DocAnswer:
    """A doc and a model's answer to it, for people."""

    doc_id: int
    arguments: tuple[tuple[Any, ...], ...]
    """Per request: the context and what was asked for (a continuation, or how to generate)."""
    target: str
    answers: tuple[Any, ...]
    """Per request, filtered: a log-likelihood with its greedy flag, or a text."""


def read_answers(
    index: ResultsIndex, checkpoint: str | None = None, *, newest_run: bool = False
) -> ModelAnswers:
    """Return the newest answers of one checkpoint.

    Args:
        checkpoint: its name, `series/name` or its step; None for the last one that has metrics.
        newest_run: only what the newest run asked; else everything that was ever asked.

    Raises:
        ResultsError: a damaged record, or there is no such checkpoint with metrics.
    """
    path = index.folder.path
    among = {run.plan_id for run in newest_command(index.runs)} if newest_run else None
    found = [(record, index.plans_with_metrics(record, among)) for record in index.checkpoints()]
    scored = [(record, plans) for record, plans in found if plans]
    if not scored:
        raise ResultsError(f"{path} has no metrics yet", "`milepost run` writes them")
    chosen = [one for one in scored if checkpoint is None or checkpoint in _names(one[0])]
    if not chosen:
        names = ", ".join(record.name for record, _ in scored[:12])
        raise ResultsError(f"{path} has no metrics of a checkpoint {checkpoint}", f"there are: {names}")
    return answers_of_plans(index, *chosen[-1])


def answers_of_plans(
    index: ResultsIndex, checkpoint: CheckpointRecord, plan_ids: Sequence[str]
) -> ModelAnswers:
    """Return one checkpoint's answers, each task and group as the first of the plans has it that asked it.

    Args:
        plan_ids: plans that it has metrics of, the newest first.

    Raises:
        ResultsError: a damaged record.
    """
    tasks: dict[str, TaskAnswers] = {}
    groups: dict[str, GroupAnswers] = {}
    tokenizers = set()
    for plan_id in plan_ids:
        plan = index.plan(plan_id)
        rows = index.metrics_record(plan_id, checkpoint).of_task
        metrics = {name: [row.measurement(checkpoint) for row in own] for name, own in rows.items()}
        of_plan: dict[str, TaskAnswers] = {}
        new_groups = [name for name in plan.groups if name in metrics and name not in groups]
        for task in plan.tasks:
            name = task.name
            is_new = name not in tasks
            if name in metrics and (
                is_new or not set(new_groups).isdisjoint(plan.described[name]["parents"])
            ):
                of_plan[name] = _task(index.folder, checkpoint, plan, task, metrics[name])
                if is_new:
                    tasks[name] = of_plan[name]
                    tokenizers.add(plan.tokenizer_id)
        for name in new_groups:
            members = plan.members(name)
            groups[name] = GroupAnswers(
                name=name,
                measurements=tuple(metrics[name]),
                tasks=members,
                by_size={one.metric: plan.weighs_by_size(name, one.metric) for one in metrics[name]},
                earlier_tasks={
                    task: own for task, own in of_plan.items() if tasks[task] is not own and task in members
                },
            )
    return ModelAnswers(
        results=index.folder.path,
        series=checkpoint.series,
        checkpoint=checkpoint.name,
        step=checkpoint.step,
        source=checkpoint.source or "",
        model_id=checkpoint.model_id or "",
        numerics=checkpoint.numerics or "",
        tokenizer_ids=frozenset(tokenizers),
        tasks=tasks,
        groups=groups,
    )


def read_doc_answers(model: ModelAnswers, task: str, filter: str, doc_ids: Sequence[int]) -> list[DocAnswer]:
    """Return docs of a task with the model's answers, in the order of `doc_ids`.

    Raises:
        ResultsError: a damaged record.
    """
    results, answers = ResultsFolder(model.results), model.tasks[task]
    docs = _by_doc(read_table(results.docs_path(answers.docs_id)), doc_ids)
    table = read_table(results.doc_metrics_path(answers.counted_id, model.model_id, model.numerics))
    filtered = _by_doc(table.filter([name == filter for name in table["filter"].to_pylist()]), doc_ids)
    return [
        DocAnswer(
            doc_id=doc_id,
            arguments=tuple(tuple(request) for request in json.loads(docs[doc_id]["arguments"])),
            target=docs[doc_id]["target"],
            answers=tuple(json.loads(filtered[doc_id]["filtered"])),
        )
        for doc_id in doc_ids
    ]


def _names(checkpoint: CheckpointRecord) -> set[str]:
    return {checkpoint.name, checkpoint.full_name, str(checkpoint.step)}


def _task(
    results: ResultsFolder,
    checkpoint: CheckpointRecord,
    plan: PlanRecord,
    task: PlannedTask,
    metrics: Sequence[Measurement],
) -> TaskAnswers:
    described = plan.described[task.name]
    docs = read_table(results.docs_path(task.docs_id))
    doc_ids = docs["doc_id"].to_pylist()
    values: dict[tuple[str, str], Any] = {}
    if any(metric.value is not None for metric in metrics):
        table = DocMetricsTable(read_table(results.doc_metrics_path(task.counted_id, *checkpoint.model)))
        keys = [(metric, name) for metric in table.metrics for name in table.filters]
        values = {key: table.values(*key, doc_ids) for key in keys}
    return TaskAnswers(
        name=task.name,
        task_id=task.task_id,
        docs_id=task.docs_id,
        counted_id=task.counted_id,
        version=str(described.get("version", "")),
        num_fewshot=described.get("num_fewshot"),
        measurements=tuple(metrics),
        doc_hashes=tuple(_hashes(docs, described.get("output_type"))),
        doc_ids=tuple(doc_ids),
        prompt_hashes=tuple(docs["prompt_hash"].to_pylist()),
        generation=_generation(json.loads(docs["arguments"][0].as_py())),
        values={key: own for key, own in values.items() if own is not None},
    )


def _hashes(docs: pa.Table, output_type: str | None) -> list[str]:
    hashes: list[str] = docs["doc_hash"].to_pylist()
    if output_type != "loglikelihood_rolling":
        return hashes
    return [f"{doc}-{text}" for doc, text in zip(hashes, docs["prompt_hash"].to_pylist(), strict=True)]


def _generation(arguments: Sequence[Sequence[Any]]) -> Mapping[str, Any]:
    """Return the second argument of a request for a text, which all docs of a task have in common."""
    return next((one[1] for one in arguments if len(one) > 1 and isinstance(one[1], dict)), {})


def _by_doc(table: pa.Table, doc_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    place = {doc_id: row for row, doc_id in enumerate(table["doc_id"].to_pylist())}
    rows = table.take([place[doc_id] for doc_id in doc_ids]).to_pylist()
    return {row["doc_id"]: row for row in rows}
