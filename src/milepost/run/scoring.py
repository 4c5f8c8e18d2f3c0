"""Score one checkpoint: the shards it lacks through the engine, then lm_eval's figures from all of them."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from milepost.credentials import redacted
from milepost.errors import ResultsError
from milepost.plan.plan import KINDS, Plan, TaskPlan
from milepost.plan.shards import Shard
from milepost.run.choice_metrics import choice_figures
from milepost.run.missing_metrics import may_be_mended, shortcomings
from milepost.run.plan_from_records import write_requests
from milepost.run.record_writer import RecordWriter
from milepost.store import ResultsFolder
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import is_intact, read_json, write_json
from milepost.store.folder import counted_id
from milepost.store.leases import Leases
from milepost.store.picks import write_choices
from milepost.store.tables import copy_table, looks_whole, read_made

if TYPE_CHECKING:
    from pathlib import Path

    from milepost.run.inference import Answerer, Answers
    from milepost.run.planning import Questions
    from milepost.run.progress import Progress

SCORING_VERSION = 1
RAISED = "raised"
"""In the note of a shard: on which of its requests the model raised an exception."""
"""Counts up when the numbers an engine gives for the same tokens change beyond rounding."""

LOOK_AGAIN_S = 0.5
"""How often a process that has nothing left looks whether the others are done."""

logger = logging.getLogger("milepost.run")

PER_CHECKPOINT = ("results", "groups")
"""The parts of lm_eval's results file that differ between checkpoints; the rest is kept once per plan."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which answers to which questions, and where they are kept."""

    results: ResultsFolder
    plan: Plan
    model_id: str
    dtype: str

    @property
    def numerics(self) -> str:
        return f"{self.dtype}-v{SCORING_VERSION}"

    def missing_shards(self) -> list[tuple[TaskPlan, Shard]]:
        return [
            (task, shard)
            for task in self.plan.tasks
            for shard in task.shards
            if not looks_whole(self.score_path(shard))
        ]

    def score_path(self, shard: Shard) -> Path:
        return self.results.score_path(self.model_id, self.numerics, shard.shard_id)

    @property
    def unit(self) -> str:
        """How the names of leases on work for this model begin."""
        return f"{self.model_id}-{self.numerics}-"

    def has_metrics(self) -> bool:
        """Whether its figures are there, whole, and with the docs' own beside them."""
        try:
            record = read_json(self.metrics_path)
        except ResultsError:
            return False
        if may_be_mended(record):
            return False  # a filter or metric raised: another try costs little and may succeed
        missing = record["missing"]
        offering = [task for task in self.plan.tasks if task.choices is not None]
        if offering and "choices" not in record:
            return False  # of a Milepost that did not compute them; the scores are there
        if any(task.name not in missing for task in offering) and not looks_whole(self.picks_path):
            return False
        return all(
            task.name in missing or looks_whole(self.doc_metrics_path(task)) for task in self.plan.tasks
        )

    def drop_damaged(self) -> None:
        """Remove stored shards that are not what was written, or that the model raised an exception in, so
        that they are scored again."""
        for task in self.plan.tasks:
            for shard in task.shards:
                path = self.score_path(shard)
                if not looks_whole(path):
                    continue
                try:
                    loglikelihood, _ = self.results.read_scores(path)
                    intact = len(loglikelihood) == shard.last - shard.first
                except ResultsError:
                    intact = False
                if intact and RAISED in read_made(path):
                    inside.remove(path)  # another try may succeed, with other versions or more memory
                elif not intact:
                    logger.warning("%s is damaged; its %s requests are scored again", path, task.name)
                    inside.remove(path)

    def shortcomings(self) -> str | None:
        """Of a model with stored figures: which are None and why; None if all were computed."""
        return shortcomings(read_json(self.metrics_path))

    def doc_metrics_path(self, task: TaskPlan) -> Path:
        counted = counted_id(task.task_id, self.plan.counting_id(task))
        return self.results.doc_metrics_path(counted, self.model_id, self.numerics)

    @property
    def metrics_path(self) -> Path:
        return self.results.metrics_path(self.plan.plan_id, self.model_id, self.numerics)

    @property
    def picks_path(self) -> Path:
        return self.results.picks_path(self.plan.plan_id, self.model_id, self.numerics)


def score_shards(
    target: Target,
    answerer: Answerer,
    progress: Progress,
    leases: Leases,
    made: Mapping[str, Any],
    share: bool = False,
) -> int:
    """Score and store the shards that are not there yet; how many this process did.

    A shard is written once it is complete, so an interrupt costs at most those under way: one, or where the
    engine joins shards those that a pass of it holds parts of. Shards that other processes have under way are
    left to them, and waited for in case they do not come.

    Args:
        made: kept with each shard, to say how it came about.
        share: take one shard at a time, so that other processes can take others.
    """
    n_scored = 0
    while missing := target.missing_shards():
        n_now = 0
        if answerer.joins_shards and not share:
            joined = [(task, shard) for task, shard in missing if not task.asks_texts(shard)]
            n_now += _score_joined(target, answerer, joined, progress, leases, made)
            missing = [(task, shard) for task, shard in missing if task.asks_texts(shard)]
        for task, shard in missing:
            with leases.hold(target.unit + shard.shard_id) as ours:
                if ours and not looks_whole(target.score_path(shard)):
                    answers = answerer.answer(task, shard)
                    path, note = target.score_path(shard), _note(answerer, task, shard, made, answers)
                    if looks_whole(path):
                        continue  # another process took over while this one was stopped
                    target.results.write_scores(
                        path, answers.loglikelihood, answers.greedy, note, generated=answers.generated
                    )
                    n_now += 1
                    progress.advance(task.tokens_of(shard.first, shard.last))
        n_scored += n_now
        if target.missing_shards() and not n_now:
            time.sleep(LOOK_AGAIN_S)
    return n_scored


def _score_joined(
    target: Target,
    answerer: Answerer,
    missing: Sequence[tuple[TaskPlan, Shard]],
    progress: Progress,
    leases: Leases,
    made: Mapping[str, Any],
) -> int:
    """Score those of the shards that nobody else has as one stream; each is stored when it is complete.

    They are all leased before the first is scored, as a pass of the engine has parts of several. Each lease
    is given back when its shard is stored, the rest however this ends.
    """
    with ExitStack() as every:
        ours: list[tuple[TaskPlan, Shard, ExitStack]] = []
        for task, shard in missing:
            lease = every.enter_context(ExitStack())
            free = lease.enter_context(leases.hold(target.unit + shard.shard_id))
            if free and not looks_whole(target.score_path(shard)):
                ours.append((task, shard, lease))
        writer = every.enter_context(RecordWriter())
        joined = answerer.answer_joined([(task, shard) for task, shard, _ in ours])
        answers = every.enter_context(closing(joined))
        for (task, shard, lease), found in zip(ours, answers, strict=True):
            path, note = target.score_path(shard), _note(answerer, task, shard, made, found)
            progress.advance(task.tokens_of(shard.first, shard.last))
            if looks_whole(path):
                lease.close()  # another process took over while this one was stopped
                continue
            content = partial(target.results.scores_bytes, path, found.loglikelihood, found.greedy, note)
            writer.write(path, content, then=lease.close)
    return len(ours)


def _note(
    answerer: Answerer, task: TaskPlan, shard: Shard, made: Mapping[str, Any], answers: Answers
) -> dict[str, Any]:
    """How a shard came about; requests on which the model raised are named in it, and told."""
    note = {**made, "engine": answerer.name_for(task, shard), "time": time.time()}
    if answers.failed:
        number = min(answers.failed)
        first = f"doc {task.doc_ids[shard.first + number]}, request {shard.first + number}"
        said = f"{first}: the model raised {answers.failed[number]}"
        note[RAISED] = {"requests": len(answers.failed), "first": said}
        logger.warning(
            "%s, %s (%d such of %d requests)", task.name, said, len(answers.failed), shard.last - shard.first
        )
    return note


def figures(target: Target, questions: Questions, leases: Leases) -> str | None:
    """See that a fully scored checkpoint has its figures, by one process.

    Returns:
        Which figures could not be computed and why; None if all were.

    Raises:
        ResultsError: a stored shard is damaged, or the disk is full.
    """
    while not target.has_metrics():
        with leases.hold(f"{target.unit}figures-{target.plan.plan_id}") as ours:
            if ours and not target.has_metrics():
                return write_figures(target, questions)
        if not ours:
            time.sleep(LOOK_AGAIN_S)
    return target.shortcomings()


def write_figures(target: Target, questions: Questions) -> str | None:
    """Compute and store lm_eval's figures of a fully scored checkpoint. Returns and raises as `figures`."""
    from milepost.tasks.lm_eval.guarded import as_records
    from milepost.tasks.lm_eval.metrics import Responses, compute_metrics

    responses = {}
    for task in target.plan.tasks:
        parts = [target.results.read_scores(target.score_path(shard)) for shard in task.shards]
        responses[task.name] = Responses(
            kinds=[KINDS[kind] for kind in task.kinds],
            doc_ids=task.doc_ids,
            loglikelihood=np.concatenate([loglikelihood for loglikelihood, _ in parts]),
            greedy=np.concatenate([greedy for _, greedy in parts]),
            generated=_generated(target, task),
            n_targets=task.encoded.n_targets_of_requests,
            raised=_raised(target, task),
        )
    evaluation = compute_metrics(questions.loaded(), responses)
    settings = _settings_of(target.plan)
    for task in target.plan.tasks:
        if task.name in evaluation.docs:
            columns = _columns(evaluation.docs[task.name])
            target.results.write_doc_metrics(target.doc_metrics_path(task), columns)
    logs = {name: answers.loglikelihood for name, answers in responses.items()}
    choices = choice_figures(questions.loaded(), target.plan.tasks, logs)
    if choices.docs:
        choices.write_docs(target.picks_path)
    tables = evaluation.lm_eval
    tables_path = target.results.lm_eval_tables_path(target.plan.plan_id)
    if not is_intact(tables_path):
        write_json(tables_path, {k: v for k, v in tables.items() if k not in PER_CHECKPOINT})
    record = {
        "rows": [{**row, "setting": settings[row["task"]]} for row in evaluation.rows],
        "choices": choices.as_json(evaluation.rows),
        "missing": evaluation.missing,
        "reasons": as_records(evaluation.reasons),
        "lm_eval": {key: tables[key] for key in PER_CHECKPOINT if key in tables},
    }
    write_json(target.metrics_path, record)
    return shortcomings(record)


def _raised(target: Target, task: TaskPlan) -> str | None:
    """On which of a task's requests the model raised an exception; None where on none."""
    notes = [read_made(target.score_path(shard)).get(RAISED) for shard in task.shards]
    found = [note for note in notes if note is not None]
    if not found:
        return None
    n = sum(note["requests"] for note in found)
    return f"{found[0]['first']}" + (f" (and {n - 1} more requests)" if n > 1 else "")


def _generated(target: Target, task: TaskPlan) -> list[list[str] | None] | None:
    """The texts of a task's requests, where it asks for any."""
    if not task.generations.settings:
        return None
    parts = (target.results.read_generated(target.score_path(shard)) for shard in task.shards)
    return [texts for part in parts for texts in part]


def _columns(docs: Any) -> dict[str, list[Any]]:
    """Per-doc metrics as columns; what is no number (a pair to be aggregated) as JSON."""
    columns: dict[str, list[Any]] = {"doc_id": docs.doc_id, "filter": docs.filter, "filtered": docs.filtered}
    for metric, values in docs.values.items():
        columns[f"value:{metric}"] = values
    for metric, values in docs.metrics.items():
        if all(value is None or isinstance(value, int | float | np.number | np.bool_) for value in values):
            columns[f"metric:{metric}"] = [None if value is None else float(value) for value in values]
        else:
            columns[f"json:{metric}"] = [json.dumps(value, default=_plain_number) for value in values]
    return columns


def _plain_number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def _settings_of(plan: Plan) -> dict[str, str]:
    """By task and group, a name for how it was asked and counted: figures with another are not comparable."""
    counting = plan.settings["counting"]
    tasks = {task.name: _digest(task.asked_id, counting["tasks"][task.name]) for task in plan.tasks}
    members = {
        name: sorted(
            tasks[task] for task, entry in plan.settings["tasks"].items() if name in entry["parents"]
        )
        for name in counting["groups"]
    }
    groups = {name: _digest(members[name], counting["groups"][name]) for name in counting["groups"]}
    return {**tasks, **groups}


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def write_plan_record(results: ResultsFolder, plan: Plan) -> None:
    """What was asked, for people and for readers without lm_eval; once per plan."""
    path = results.plan_path(plan.plan_id)
    lacking = [task for task in plan.tasks if not looks_whole(results.docs_path(task.docs_id))]
    for task in plan.tasks:
        if task.choices is not None and not looks_whole(results.choices_path(task.docs_id)):
            write_choices(results.choices_path(task.docs_id), task.choices)
    write_requests(results, plan)
    if is_intact(path) and not lacking:
        return
    tasks = [
        {
            "name": task.name,
            "task_id": task.task_id,
            "asked_id": task.asked_id,
            "docs_id": task.docs_id,
            "counting_id": plan.counting_id(task),
            "n_docs": task.n_docs,
            "n_requests": task.encoded.n_requests,
            "n_truncated": task.encoded.n_truncated,
            "n_tokens": task.n_tokens,
            "shards": [[shard.shard_id, shard.first, shard.last] for shard in task.shards],
        }
        for task in plan.tasks
    ]
    for task in lacking:
        if task.docs.path is None or not copy_table(task.docs.path, results.docs_path(task.docs_id)):
            results.write_docs(task.docs_id, task.docs.table())
    write_json(
        path,
        {
            "plan_id": plan.plan_id,
            "tokenizer_id": plan.tokenizer_id,
            "max_length": plan.max_length,
            "settings": {**plan.settings, "asked": redacted(plan.settings.get("asked", {}))},
            "tasks": tasks,
        },
    )
