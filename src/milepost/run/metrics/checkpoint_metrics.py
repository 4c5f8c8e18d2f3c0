"""Compute lm_eval's metrics of a scored checkpoint and store them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from milepost.plan.plan import KINDS, Plan, TaskPlan
from milepost.run.metrics.choice_metrics import compute_choice_metrics
from milepost.run.missing_metrics import describe_missing
from milepost.run.plans.planning import PlannedTasks
from milepost.run.scoring.shard_scoring import LOOK_AGAIN_S
from milepost.run.target import RAISED, Target
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import is_intact, write_json
from milepost.store.columns import doc_columns
from milepost.store.leases import Leases
from milepost.store.metrics_record import MetricsRecord, metric_row
from milepost.store.records import write_record
from milepost.store.tables import read_made
from milepost.tasks.question_source import Evaluation, PlannedDocs, QuestionSet, Responses
from milepost.tasks.registry import source_of

PER_CHECKPOINT = ("results", "groups")
"""The parts of lm_eval's results file that differ between checkpoints; the rest is kept once per plan."""


def metrics_unit(target: Target) -> str:
    """Return the name of the lease on the metrics of a model under a plan."""
    return f"{target.unit}figures-{target.plan.plan_id}"


class MainThreadNeeded(Exception):
    """Metrics have to be computed, and code of a task's own runs only in the main thread."""


def ensure_metrics(
    target: Target, tasks: PlannedTasks, leases: Leases, *, in_thread: bool = False
) -> str | None:
    """Compute a scored checkpoint's metrics once across processes, unless they are stored.

    Args:
        in_thread: whether another thread than the main one calls.

    Returns:
        The metrics that could not be computed, and why; None if all were.

    Raises:
        ResultsError: a stored shard is damaged, or the disk is full.
        MainThreadNeeded: the main thread has to do it.
    """
    while True:
        with leases.hold(metrics_unit(target)) as is_ours:
            stored = target.stored_metrics()
            if stored is None and is_ours:
                # Asked this late because the answer is known only once the tasks are loaded.
                if in_thread and tasks.needs_main_thread():
                    raise MainThreadNeeded
                return write_metrics(target, tasks)
        if stored is not None:
            return stored.problem
        time.sleep(LOOK_AGAIN_S)


def write_metrics(target: Target, tasks: PlannedTasks) -> str | None:
    """Compute and store lm_eval's metrics of a scored checkpoint. Returns and raises as `ensure_metrics`."""
    inside.bring(target.score_path(shard) for task in target.plan.tasks for shard in task.shards)
    responses = {task.name: responses_of(target, task) for task in target.plan.tasks}
    evaluation = _evaluate(target.plan, tasks.loaded(), responses)
    settings = _settings_of(target.plan)
    for task in target.plan.tasks:
        if task.name in evaluation.docs:
            docs = evaluation.docs[task.name]
            columns: dict[str, list[Any]] = {
                "doc_id": docs.doc_id,
                "filter": docs.filter,
                "filtered": docs.filtered,
            }
            if docs.likeliest is not None:
                columns["likeliest"] = docs.likeliest
            columns |= doc_columns(docs.metrics, docs.values)
            target.results.write_doc_metrics(target.doc_metrics_path(task), columns)
    logs = {name: answers.loglikelihood for name, answers in responses.items()}
    choices = compute_choice_metrics(tasks.loaded().values(), target.plan.tasks, logs)
    if choices.docs:
        choices.write_docs(target.picks_path)
    tables = evaluation.tables
    tables_path = target.results.lm_eval_tables_path(target.plan.plan_id)
    if not is_intact(tables_path):
        write_json(tables_path, {k: v for k, v in tables.items() if k not in PER_CHECKPOINT})
    record = MetricsRecord(
        rows=tuple(metric_row(row, settings[row["task"]]) for row in evaluation.rows),
        choices=choices.as_record(evaluation.rows),
        missing=evaluation.missing,
        reasons=tuple(evaluation.reasons),
        lm_eval={key: tables[key] for key in PER_CHECKPOINT if key in tables},
    )
    write_record(target.metrics_path, record)
    return describe_missing(record.missing, record.reasons)


def _evaluate(
    plan: Plan, loaded: Mapping[str, QuestionSet], responses: Mapping[str, Responses]
) -> Evaluation:
    """Let each source compute the metrics of its tasks, and join them."""
    described = plan.settings["tasks"]
    evaluations = []
    for source, questions in loaded.items():
        planned = {
            task.name: planned_docs(plan, task)
            for task in plan.tasks
            if source_of(described[task.name]) == source
        }
        answers = {name: responses[name] for name in planned}
        evaluations.append(questions.compute_metrics(answers, planned))
    return Evaluation.join(evaluations)


def responses_of(target: Target, task: TaskPlan) -> Responses:
    """Read the stored answers to a task's requests.

    Raises:
        ResultsError: a stored shard is damaged.
    """
    parts = [target.results.read_scores(target.score_path(shard)) for shard in task.shards]
    return Responses(
        kinds=[KINDS[kind] for kind in task.kinds],
        doc_ids=task.doc_ids,
        loglikelihood=np.concatenate([loglikelihood for loglikelihood, _ in parts]),
        greedy=np.concatenate([greedy for _, greedy in parts]),
        generated=_generated(target, task),
        n_targets=task.encoded.n_targets_of_requests,
        raised=_raised(target, task),
    )


def planned_docs(plan: Plan, task: TaskPlan) -> PlannedDocs:
    """Return a task as its plan describes it, with its docs."""
    return PlannedDocs(plan.settings["tasks"][task.name], partial(_columns_of, task), task.docs_id)


def _columns_of(task: TaskPlan) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = task.docs.table().to_pydict()
    return columns


def _raised(target: Target, task: TaskPlan) -> str | None:
    """Describe the requests of a task on which the model raised an exception; None if it raised none."""
    notes = [read_made(target.score_path(shard)).get(RAISED) for shard in task.shards]
    found = [note for note in notes if note is not None]
    if not found:
        return None
    n = sum(note["requests"] for note in found)
    return f"{found[0]['first']}" + (f" (and {n - 1} more requests)" if n > 1 else "")


def _generated(target: Target, task: TaskPlan) -> list[list[str] | None] | None:
    """Return the generated texts of a task's requests; None where it generates none."""
    if not task.generations.settings:
        return None
    parts = (target.results.read_generated(target.score_path(shard)) for shard in task.shards)
    return [texts for part in parts for texts in part]


def _settings_of(plan: Plan) -> dict[str, str]:
    """Return, by task and group, a hash of its settings: metrics with different ones are not comparable."""
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
