"""Metrics of scores that are there already, such as those of a run where lm_eval was not installed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.analysis.training import note_training
from milepost.errors import MilepostError, TaskError
from milepost.plan.plan import Plan
from milepost.run.checkpoint_metrics import ensure_metrics
from milepost.run.plan_from_records import read_stored_plan
from milepost.run.planning import PlannedTasks
from milepost.run.software_versions import can_compute_metrics
from milepost.run.target import SCORING_VERSION, Target
from milepost.store import ResultsFolder, open_results
from milepost.store.leases import Leases
from milepost.store.reading import checkpoint_records, runs_newest_first
from milepost.store.tables import looks_whole, read_table
from milepost.store.workers import Worker
from milepost.tasks.settings import TaskSettings

if TYPE_CHECKING:
    from milepost.run.journal import Journal


@dataclass(slots=True)
class LaterMetrics:
    """What became of the checkpoints of a results folder that had scores and no metrics."""

    computed: list[str] = field(default_factory=list)
    """`series/checkpoint`"""
    lacking: dict[str, str] = field(default_factory=dict)
    """Likewise, to what could not be computed and why."""
    unscored: list[str] = field(default_factory=list)
    """Those that lack scores, which only a run can compute."""


def compute_later(
    path: Path,
    journal: Journal,
    say: Callable[[str], None],
    *,
    include_path: Path | None = None,
    allow_task_code: bool = False,
) -> LaterMetrics:
    """Compute the metrics of every checkpoint in a results folder that has all scores and no metrics.

    Args:
        say: told a line for each checkpoint.
        include_path: where the user's own tasks are, if not where they were when the scores were made.
        allow_task_code: let YAML of `include_path` run Python; the leave given to an earlier run does not
            count, since results may come from elsewhere.

    Raises:
        MilepostError: lm_eval is missing here, it is no results folder, or the tasks, their data or lm_eval
            are not those that were asked.
    """
    if not can_compute_metrics():
        raise MilepostError(
            "lm_eval is not installed here, and metrics are lm_eval's",
            "pip install milepost in an environment of its own, and run this there",
        )
    results = open_results(path)
    report = LaterMetrics()
    with Worker(results, {"command": f"milepost metrics {path}"}) as worker:
        leases = Leases(results, worker)
        try:
            for plan, waiting in _waiting(results, report):
                questions = _questions(results, plan, include_path, allow_task_code)
                journal.say_collected()
                for name, record in waiting.items():
                    _compute(_target(results, plan, record), record, name, questions, leases, journal, report)
                    say(f"{name}: {report.lacking.get(name, 'metrics computed')}")
        finally:
            leases.give_back_all()
    note_training(results.path)
    return report


def _waiting(
    results: ResultsFolder, report: LaterMetrics
) -> Iterator[tuple[Plan, dict[str, dict[str, Any]]]]:
    """Each plan with the checkpoints, by name, that have all of its scores and no metrics."""
    asked: dict[str, set[str]] = {}
    for run in runs_newest_first(results):
        asked.setdefault(run["plan_id"], set()).update(run["series"])
    records = list(checkpoint_records(results))
    for plan_id, series in asked.items():
        plan = None
        found = {}
        for record in records:
            metrics = results.metrics_path(plan_id, record["model_id"], record["numerics"])
            if record["series"] not in series or not record["numerics"].endswith(f"-v{SCORING_VERSION}"):
                continue
            name = f"{record['series']}/{record['checkpoint']}"
            if plan is None:
                if metrics.exists():
                    continue
                if not looks_whole(results.requests_path(plan_id)):
                    report.unscored.append(name)  # of an earlier Milepost, which kept too little of the plan
                    continue
                plan = read_stored_plan(results, plan_id)
            target = _target(results, plan, record)
            if target.stored_metrics() is not None:
                continue
            if target.missing_shards(verify=True):
                report.unscored.append(name)
            else:
                found[name] = record
        if plan is not None and found:
            yield plan, found


def _target(results: ResultsFolder, plan: Plan, record: dict[str, Any]) -> Target:
    return Target(results, plan, record["model_id"], record["numerics"].rpartition("-v")[0])


def _questions(
    results: ResultsFolder, plan: Plan, include_path: Path | None, allow_task_code: bool
) -> PlannedTasks:
    """The tasks as they are here, if they are the ones that were asked.

    Raises:
        TaskError: they are not.
    """
    asked = TaskSettings.from_json(plan.settings["asked"])
    settings = replace(
        asked, include_path=include_path or asked.include_path, allow_task_code=allow_task_code
    )
    from milepost.tasks.lm_eval.describe import describe_counting
    from milepost.tasks.lm_eval.docs import docs_of
    from milepost.tasks.lm_eval.loading import load_tasks
    from milepost.tasks.lm_eval.requests import doc_hash

    loaded = load_tasks(settings)
    if describe_counting(loaded) != plan.settings["counting"]:
        raise _others("metrics, filters or groups")
    for task in plan.tasks:
        if task.name not in loaded.tasks:
            raise _others(f"tasks, {task.name} is missing")
        table = read_table(results.docs_path(task.docs_id), ["doc_hash"])
        here = [doc_hash(doc) for _, doc in docs_of(loaded, task.name)]
        if here != table["doc_hash"].to_pylist() and not _is_cut(plan, task.name):
            raise _others(f"docs of {task.name}")
    return PlannedTasks(plan, settings, loaded)


def _is_cut(plan: Plan, task: str) -> bool:
    """Whether a task's docs are windows of a text, which only a tokenizer can cut."""
    return bool(plan.settings["tasks"].get(task, {}).get("output_type") == "loglikelihood_rolling")


def _others(what: str) -> TaskError:
    return TaskError(
        f"lm_eval has other {what} here than when the scores were made",
        "compute the metrics with the lm_eval, data and task files that the plan was made with",
    )


def _compute(
    target: Target,
    record: dict[str, Any],
    name: str,
    questions: PlannedTasks,
    leases: Leases,
    journal: Journal,
    report: LaterMetrics,
) -> None:
    path = target.results.log_folder(record["series"], record["checkpoint"]) / "evaluation.log"
    with journal.evaluation_log(path) as log:
        start = time.monotonic()
        lacking = ensure_metrics(target, questions, leases)
        log.info("metrics computed in %.1f s", time.monotonic() - start)
    if lacking:
        report.lacking[name] = lacking
    else:
        report.computed.append(name)
