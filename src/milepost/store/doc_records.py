"""What one model answered, doc by doc: the records that two models are compared by.

A doc is known by lm_eval's hash of it, so that two results folders can be compared whatever their limits,
their order of docs, or the version of their task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.errors import ResultsError
from milepost.store.atomic_files import read_json
from milepost.store.folder import ResultsFolder, counted_id_of, docs_id_of, open_results
from milepost.store.reading import (
    as_measurement,
    checkpoint_records,
    newest_together,
    runs_newest_first,
    who_was_asked,
)
from milepost.store.tables import read_table
from milepost.types import Measurement

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBER, _JSON, _VALUE = "metric:", "json:", "value:"
"""How the columns of doc_metrics begin; see docs/store.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAnswers:
    """One task: D docs, and what each of them counts in each figure."""

    name: str
    task_id: str
    docs_id: str
    """Names the record of its docs."""
    counted_id: str
    """Names the record of what its docs count."""
    version: str
    num_fewshot: int | None
    measurements: tuple[Measurement, ...]
    """The task's figures, in the order it lists them."""
    doc_hashes: tuple[str, ...]
    """[D], in the order of the split; where texts are scored, with the hash of the text, since a window of a
    text has no doc of its own."""
    doc_ids: tuple[int, ...]
    """[D] places in the split."""
    prompt_hashes: tuple[str, ...]
    """[D] lm_eval's hash of the prompt that each doc was asked with."""
    generation: Mapping[str, Any]
    """How texts were asked for (`generation_kwargs`); empty where none were."""
    values: Mapping[tuple[str, str], Sequence[Any]]
    """(metric, filter) to [D] what each doc contributes: a number, or what lm_eval aggregates (a
    log-likelihood and its number of words), or None where the doc does not count. Empty where the model gave
    no numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAnswers:
    """One group, which is a weighted mean over its tasks."""

    name: str
    measurements: tuple[Measurement, ...]
    tasks: tuple[str, ...]
    by_size: Mapping[str, bool]
    """Metric to whether a task counts by its number of docs; else all tasks count the same."""
    asked: Mapping[str, TaskAnswers] = field(default_factory=dict)
    """Those of its tasks that have been asked otherwise since, alone: as the group's figures have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswers:
    """One checkpoint of a results folder."""

    results: Path
    series: str
    checkpoint: str
    step: int | None
    source: str
    """Where the weights were at the last visit."""
    model_id: str
    numerics: str
    tokenizer_ids: frozenset[str]
    tasks: Mapping[str, TaskAnswers]
    groups: Mapping[str, GroupAnswers]

    def members(self, group: str) -> dict[str, TaskAnswers]:
        """The tasks that a group's figures are made of, with the docs that those are of."""
        of = self.groups[group]
        found = {name: of.asked.get(name) or self.tasks.get(name) for name in of.tasks}
        return {name: task for name, task in found.items() if task is not None}

    @property
    def measurements(self) -> list[Measurement]:
        """All figures, each group before its tasks."""
        parts: list[GroupAnswers | TaskAnswers] = [*self.groups.values(), *self.tasks.values()]
        return [figure for part in parts for figure in part.measurements]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocAnswer:
    """One doc and one model's answer to it, for people."""

    doc_id: int
    arguments: tuple[tuple[Any, ...], ...]
    """Per request: the context and what was asked for (a continuation, or how to generate)."""
    target: str
    answers: tuple[Any, ...]
    """Per request, filtered: a log-likelihood with its greedy flag, or a text."""


def read_answers(path: Path, checkpoint: str | None = None, *, newest_run: bool = False) -> ModelAnswers:
    """The newest answers of one checkpoint.

    Args:
        path: a results folder.
        checkpoint: its name, `series/name` or its step; None for the last one that has figures.
        newest_run: only what the newest run asked; else everything that was ever asked.

    Raises:
        ResultsError: no results folder, a damaged record, or no such checkpoint with figures.
    """
    results = open_results(path)
    runs = runs_newest_first(results)
    chosen_runs = newest_together(runs) if newest_run else runs
    plans = list(dict.fromkeys(run["plan_id"] for run in chosen_runs))
    asked = who_was_asked(runs)
    measured = [
        (record, own)
        for record in checkpoint_records(results)
        if (own := [plan for plan in plans if asked(plan, record) and _has_figures(results, plan, record)])
    ]
    if not measured:
        raise ResultsError(f"{path} has no figures yet", "`milepost run` writes them")
    chosen = [one for one in measured if checkpoint is None or checkpoint in _names(one[0])]
    if not chosen:
        there = ", ".join(record["checkpoint"] for record, _ in measured[:12])
        raise ResultsError(f"{path} has no figures of a checkpoint {checkpoint}", f"there are: {there}")
    return _read(results, *chosen[-1])


def answers_of_plan(results: ResultsFolder, record: Mapping[str, Any], plan_id: str) -> ModelAnswers:
    """One checkpoint's answers to one plan, of those that have figures.

    Args:
        record: the checkpoint's, as of `store.reading.checkpoint_records`.

    Raises:
        ResultsError: a damaged record.
    """
    return _read(results, record, [plan_id])


def read_doc_answers(model: ModelAnswers, task: str, filter: str, doc_ids: Sequence[int]) -> list[DocAnswer]:
    """Docs of a task with the model's answers, in the order of `doc_ids`.

    Raises:
        ResultsError: a damaged record.
    """
    results, asked = ResultsFolder(model.results), model.tasks[task]
    docs = _by_doc(read_table(results.docs_path(asked.docs_id)), doc_ids)
    answers = read_table(results.doc_metrics_path(asked.counted_id, model.model_id, model.numerics))
    filtered = _by_doc(answers.filter([one == filter for one in answers["filter"].to_pylist()]), doc_ids)
    return [
        DocAnswer(
            doc_id=doc_id,
            arguments=tuple(tuple(one) for one in json.loads(docs[doc_id]["arguments"])),
            target=docs[doc_id]["target"],
            answers=tuple(json.loads(filtered[doc_id]["filtered"])),
        )
        for doc_id in doc_ids
    ]


def _names(record: Mapping[str, Any]) -> set[str]:
    name = record["checkpoint"]
    return {name, f"{record['series']}/{name}", str(record["step"])}


def _has_figures(results: ResultsFolder, plan_id: str, record: Mapping[str, Any]) -> bool:
    return results.metrics_path(plan_id, record["model_id"], record["numerics"]).exists()


def _read(results: ResultsFolder, record: Mapping[str, Any], plan_ids: Sequence[str]) -> ModelAnswers:
    """Each task and group as the newest plan has it that asked for it."""
    tasks: dict[str, TaskAnswers] = {}
    groups: dict[str, GroupAnswers] = {}
    tokenizers = set()
    for plan_id in plan_ids:
        plan = read_json(results.plan_path(plan_id))
        stored = read_json(results.metrics_path(plan_id, record["model_id"], record["numerics"]))
        figures: dict[str, list[Measurement]] = {}
        for row in stored["rows"]:
            figures.setdefault(row["task"], []).append(as_measurement(record["series"], record, row))
        of_plan: dict[str, TaskAnswers] = {}
        new_groups = [
            name for name in plan["settings"]["counting"]["groups"] if name in figures and name not in groups
        ]
        for task in plan["tasks"]:
            name = task["name"]
            parents = plan["settings"]["tasks"][name]["parents"]
            newest = name not in tasks
            if name in figures and (newest or not set(new_groups).isdisjoint(parents)):
                of_plan[name] = _task(results, record, plan, task, figures[name])
                if newest:
                    tasks[name] = of_plan[name]
                    tokenizers.add(plan["tokenizer_id"])
        for name in new_groups:
            asked = {one: of for one, of in of_plan.items() if tasks[one] is not of}
            groups[name] = _group(plan, name, figures[name], asked)
    return ModelAnswers(
        results=results.path,
        series=record["series"],
        checkpoint=record["checkpoint"],
        step=record["step"],
        source=record["source"],
        model_id=record["model_id"],
        numerics=record["numerics"],
        tokenizer_ids=frozenset(tokenizers),
        tasks=tasks,
        groups=groups,
    )


def _task(
    results: ResultsFolder,
    record: Mapping[str, Any],
    plan: Mapping[str, Any],
    task: Mapping[str, Any],
    figures: Sequence[Measurement],
) -> TaskAnswers:
    described = plan["settings"]["tasks"][task["name"]]
    docs = read_table(results.docs_path(docs_id_of(task)))
    doc_ids = docs["doc_id"].to_pylist()
    has_numbers = any(figure.value is not None for figure in figures)
    path = results.doc_metrics_path(counted_id_of(task), record["model_id"], record["numerics"])
    return TaskAnswers(
        name=task["name"],
        task_id=task["task_id"],
        docs_id=docs_id_of(task),
        counted_id=counted_id_of(task),
        version=str(described.get("version", "")),
        num_fewshot=described.get("num_fewshot"),
        measurements=tuple(figures),
        doc_hashes=tuple(_hashes(docs, described.get("output_type"))),
        doc_ids=tuple(doc_ids),
        prompt_hashes=tuple(docs["prompt_hash"].to_pylist()),
        generation=_generation(json.loads(docs["arguments"][0].as_py())),
        values=_values(read_table(path), doc_ids) if has_numbers else {},
    )


def _hashes(docs: pa.Table, output_type: str | None) -> list[str]:
    hashes: list[str] = docs["doc_hash"].to_pylist()
    if output_type != "loglikelihood_rolling":
        return hashes
    return [f"{doc}-{text}" for doc, text in zip(hashes, docs["prompt_hash"].to_pylist(), strict=True)]


def _generation(arguments: Sequence[Sequence[Any]]) -> Mapping[str, Any]:
    """The second argument of a request for a text, which all docs of a task have in common."""
    return next((one[1] for one in arguments if len(one) > 1 and isinstance(one[1], dict)), {})


def _values(table: pa.Table, doc_ids: Sequence[int]) -> dict[tuple[str, str], list[Any]]:
    """Columns of doc_metrics by metric and filter, in the order of `doc_ids`; a doc's own number wins."""
    found: dict[tuple[str, str], list[Any]] = {}
    filters = table["filter"].to_pylist()
    rows_of: dict[str, dict[int, int]] = {}
    for row, (doc_id, of) in enumerate(zip(table["doc_id"].to_pylist(), filters, strict=True)):
        rows_of.setdefault(of, {})[doc_id] = row
    for prefix in (_JSON, _NUMBER, _VALUE):
        for column in table.column_names:
            if not column.startswith(prefix):
                continue
            values = table[column].to_pylist()
            for of, rows in rows_of.items():
                own = [values[rows[doc_id]] if doc_id in rows else None for doc_id in doc_ids]
                if prefix == _JSON:
                    own = [None if value is None else json.loads(value) for value in own]
                if any(value is not None for value in own):
                    found[column.removeprefix(prefix), of] = own
    return found


def _group(
    plan: Mapping[str, Any],
    name: str,
    figures: Sequence[Measurement],
    asked: Mapping[str, TaskAnswers],
) -> GroupAnswers:
    tasks = tuple(task for task, own in plan["settings"]["tasks"].items() if name in own["parents"])
    listed = plan["settings"]["counting"]["groups"][name].get("aggregate_metric_list") or []
    return GroupAnswers(
        name=name,
        measurements=tuple(figures),
        tasks=tasks,
        by_size={one["metric"]: bool(one["weight_by_size"]) for one in listed},
        asked={task: of for task, of in asked.items() if task in tasks},
    )


def _by_doc(table: pa.Table, doc_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    place = {doc_id: row for row, doc_id in enumerate(table["doc_id"].to_pylist())}
    rows = table.take([place[doc_id] for doc_id in doc_ids]).to_pylist()
    return {row["doc_id"]: row for row in rows}
