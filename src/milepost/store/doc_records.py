"""Read the answers of one checkpoint, doc by doc: the values by which two models are compared.

A doc is known by lm_eval's hash of it, so that two results folders can be compared whatever their limits,
their order of docs, or the version of their task.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.errors import ResultsError
from milepost.files.arrow import as_array
from milepost.store.asked import asked_of
from milepost.store.columns import DocMetricsTable
from milepost.store.folder import ResultsFolder
from milepost.store.index import ResultsIndex
from milepost.store.picked_values import PICKED, PickedValues
from milepost.store.records import CheckpointRecord, PlannedTask, PlanRecord
from milepost.store.tables import read_rows, read_table
from milepost.store.task_metrics import TaskMetrics, measurements_of
from milepost.text.language import Phrase
from milepost.types.answers import DocAnswer, GroupAnswers, ModelAnswers, TaskAnswers
from milepost.types.metrics import Measurement

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


GENERATES = "generate_until"
"""The output type of tasks whose answers are texts."""


def read_answers(index: ResultsIndex, checkpoint: str | None = None) -> ModelAnswers:
    """Return the current answers of one checkpoint, in every setting in which a task was asked.

    Args:
        checkpoint: its name, `series/name` or its step; None for the last one that has metrics.

    Raises:
        ResultsError: a damaged record, or there is no such checkpoint with metrics.
    """
    path = index.folder.path
    scored: dict[tuple[str, str], list[TaskMetrics]] = {}
    for task in index.tasks(()):
        scored.setdefault((task.series, task.checkpoint.name), []).append(task)
    if not scored:
        raise ResultsError(Phrase("{path} has no metrics yet", path=path), "`milepost run` writes them")
    chosen = [own for own in scored.values() if checkpoint is None or checkpoint in _names(own[0].checkpoint)]
    if not chosen:
        names = ", ".join([name for _, name in scored][:12])
        raise ResultsError(
            Phrase("{path} has no metrics of a checkpoint {checkpoint}", path=path, checkpoint=checkpoint),
            Phrase("there are: {names}", names=names),
        )
    return _answers(index, chosen[-1])


def answers_of_plan(index: ResultsIndex, checkpoint: CheckpointRecord, plan_id: str) -> ModelAnswers:
    """Return one checkpoint's answers to the tasks of one plan, of which it has metrics.

    Raises:
        ResultsError: a damaged record.
    """
    record = index.metrics_record(plan_id, checkpoint)
    return _answers(
        index,
        [
            TaskMetrics(
                checkpoint, plan_id, task, rows, None, asked_of(index.plan(plan_id), rows[0].num_fewshot), ""
            )
            for task, rows in record.of_task.items()
        ],
    )


def _answers(index: ResultsIndex, current: Sequence[TaskMetrics]) -> ModelAnswers:
    """Return the answers behind the metrics of one checkpoint."""
    picks = PickedValues(index.folder, {row.metric for own in current for row in own.rows})
    read: dict[tuple[str, str], TaskAnswers] = {}
    """By the name of the docs' values and the numerics: a task and a member of a group may be the same."""

    def answers_to(task: str, of: TaskMetrics, measured: Sequence[Measurement]) -> TaskAnswers:
        planned = index.plan(of.plan_id).task(task)
        key = planned.counted_id, of.checkpoint.numerics or ""
        if key not in read:
            picked = picks.of((of.plan_id, *of.checkpoint.model), task)
            read[key] = _task(index.folder, of.checkpoint, index.plan(of.plan_id), planned, measured, picked)
        return read[key]

    tasks, groups = {}, {}
    for own in current:
        if not own.is_group and own.task in index.plan(own.plan_id).by_name:
            tasks[own.label] = answers_to(own.task, own, measurements_of([own]))
    for own in current:
        if own.is_group:
            plan = index.plan(own.plan_id)
            rows = index.metrics_record(own.plan_id, own.checkpoint).of_task
            groups[own.label] = GroupAnswers(
                name=own.task,
                measurements=tuple(measurements_of([own])),
                tasks=plan.members(own.task),
                by_size={row.metric: plan.weighs_by_size(own.task, row.metric) for row in own.rows},
                members={
                    name: answers_to(name, own, [row.measurement(own.checkpoint) for row in rows[name]])
                    for name in plan.members(own.task)
                    if name in rows and name in plan.by_name
                },
            )
    checkpoint = current[0].checkpoint
    return ModelAnswers(
        results=index.folder.path,
        series=checkpoint.series,
        checkpoint=checkpoint.name,
        step=checkpoint.step,
        source=checkpoint.source or "",
        model_id=checkpoint.model_id or "",
        numerics=checkpoint.numerics or "",
        tokenizer_ids=frozenset(index.plan(own.plan_id).tokenizer_id for own in current),
        tasks=tasks,
        groups=groups,
    )


def _names(checkpoint: CheckpointRecord) -> set[str]:
    return {checkpoint.name, checkpoint.full_name, str(checkpoint.step)}


class _Values(Mapping[tuple[str, str], Sequence[Any]]):
    """The docs' values by metric and filter: those of the picks, and those of a file that is read if need be.

    Args:
        picked: the values that the picks give.
        read: reads those of the file.
    """

    def __init__(
        self, picked: Mapping[tuple[str, str], Any], read: Callable[[], Mapping[tuple[str, str], Any]]
    ) -> None:
        self._picked, self._read = picked, read

    @cached_property
    def _stored(self) -> Mapping[tuple[str, str], Any]:
        return self._read()

    def __getitem__(self, key: tuple[str, str]) -> Sequence[Any]:
        found: Sequence[Any] = self._picked[key] if key in self._picked else self._stored[key]
        return found

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def _agreeing(
    picked: Mapping[str, npt.NDArray[Any]], metrics: Sequence[Measurement]
) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
    """Return the picks' values of those metrics that are means over them: a task may define its own `acc`."""
    found = {}
    for measured in metrics:
        column = PICKED.get(measured.metric, "") if measured.filter == "none" else ""
        if column in picked and measured.value is not None:
            values = picked[column].astype(float)
            if math.isclose(values.mean(), measured.value, rel_tol=1e-9, abs_tol=1e-12):
                found[measured.metric, measured.filter] = values
    return found


def _task(
    results: ResultsFolder,
    checkpoint: CheckpointRecord,
    plan: PlanRecord,
    task: PlannedTask,
    metrics: Sequence[Measurement],
    picked: Mapping[str, npt.NDArray[Any]] | None,
) -> TaskAnswers:
    described = plan.described[task.name]
    output_type = described.get("output_type", GENERATES)
    docs_path = results.docs_path(task.docs_id)
    values_path = results.doc_metrics_path(task.counted_id, *checkpoint.model)
    if picked is None or len(picked["doc_id"]) != task.n_docs:
        picked = {"doc_id": as_array(read_table(docs_path, ["doc_id"])["doc_id"])}
    doc_ids = picked["doc_id"]

    def stored() -> dict[tuple[str, str], Any]:
        if all(metric.value is None for metric in metrics):
            return {}
        table = DocMetricsTable(read_table(values_path))
        keys = [(metric, name) for metric in table.metrics for name in table.filters]
        values = {key: table.values(*key, doc_ids.tolist()) for key in keys}
        return {key: own for key, own in values.items() if own is not None}

    return TaskAnswers(
        name=task.name,
        task_id=task.task_id,
        docs_id=task.docs_id,
        counted_id=task.counted_id,
        numerics=checkpoint.numerics or "",
        version=str(described.get("version", "")),
        num_fewshot=described.get("num_fewshot"),
        measurements=tuple(metrics),
        doc_ids=doc_ids,
        hashes=partial(_read_hashes, docs_path, output_type),
        prompt_hashes=lambda: _read_words(docs_path, "prompt_hash"),
        generation=_generation(docs_path) if output_type == GENERATES else {},
        values=_Values(_agreeing(picked, metrics), stored),
        texts=partial(_read_texts, docs_path, values_path),
    )


def _read_texts(docs_path: Path, values_path: Path, filter: str, doc_ids: Sequence[int]) -> list[DocAnswer]:
    """Return docs of a task with the model's answers, in the order of `doc_ids`.

    Raises:
        ResultsError: a damaged record.
    """
    docs = read_rows(docs_path, "doc_id", doc_ids, ["arguments", "target"])
    table = read_table(values_path, ["doc_id", "filter", "filtered"])
    names = zip(table["doc_id"].to_pylist(), table["filter"].to_pylist(), strict=True)
    row_of = {doc_id: row for row, (doc_id, name) in enumerate(names) if name == filter}
    filtered = {doc_id: table["filtered"][row_of[doc_id]].as_py() for doc_id in doc_ids}
    return [
        DocAnswer(
            doc_id=doc_id,
            arguments=tuple(tuple(request) for request in json.loads(docs[doc_id]["arguments"])),
            target=docs[doc_id]["target"],
            answers=tuple(json.loads(filtered[doc_id])),
        )
        for doc_id in doc_ids
    ]


def _read_hashes(path: Path, output_type: str) -> list[str]:
    hashes = _read_words(path, "doc_hash")
    if output_type != "loglikelihood_rolling":
        return hashes
    return [f"{doc}-{text}" for doc, text in zip(hashes, _read_words(path, "prompt_hash"), strict=True)]


def _read_words(path: Path, column: str) -> list[str]:
    words: list[str] = read_table(path, [column])[column].to_pylist()
    return words


def _generation(path: Path) -> Mapping[str, Any]:
    """Return the second argument of a request for a text, which all docs of a task have in common."""
    arguments = json.loads(read_table(path, ["arguments"])["arguments"][0].as_py())
    return next((one[1] for one in arguments if len(one) > 1 and isinstance(one[1], dict)), {})
