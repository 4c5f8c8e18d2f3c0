"""Compute metrics of stored scores, such as those of a run where lm_eval was not installed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.errors import MilepostError
from milepost.plan.plan import Plan
from milepost.results.training import note_training
from milepost.run.metrics.checkpoint_metrics import ensure_metrics, metrics_unit
from milepost.run.plans.plan_from_records import read_stored_plan
from milepost.run.plans.planning import PlannedTasks
from milepost.run.plans.stored_tasks import load_stored_tasks
from milepost.run.software_versions import can_compute_metrics
from milepost.run.target import SCORING_VERSION, Target
from milepost.store import ResultsFolder, ResultsIndex, open_folder
from milepost.store.leases import Leases
from milepost.store.records import CheckpointRecord
from milepost.store.tables import looks_whole
from milepost.store.workers import Worker
from milepost.text.language import Phrase, for_reader

if TYPE_CHECKING:
    from milepost.run.display.journal import Journal


@dataclass(slots=True)
class LaterMetrics:
    """The result for the checkpoints of a folder that had scores and no metrics."""

    computed: list[str] = field(default_factory=list)
    """`series/checkpoint`"""
    lacking: dict[str, str] = field(default_factory=dict)
    """By `series/checkpoint`, the metrics that could not be computed and why."""
    unscored: list[str] = field(default_factory=list)
    """Checkpoints without all scores, which only a run can compute."""


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
        say: called with a line for each checkpoint.
        include_path: folder of the user's own tasks, if it is not where it was when the scores were made.
        allow_task_code: let YAML of `include_path` run Python; the permission of an earlier run does not
            count, since results may come from elsewhere.

    Raises:
        MilepostError: lm_eval is missing here, `path` is not a results folder, or the tasks, their data or
            lm_eval are not those of the plan.
    """
    if not can_compute_metrics():
        raise MilepostError(
            "lm_eval is not installed here, and metrics are lm_eval's",
            "pip install milepost in an environment of its own, and run this there",
        )
    results = open_folder(path)
    report = LaterMetrics()
    with Worker(results, {"command": f"milepost metrics {path}"}) as worker:
        leases = Leases(results, worker)
        try:
            for plan, waiting in _waiting(results, report):
                series = next(iter(waiting.values())).series
                tasks = load_stored_tasks(results, plan, series, include_path, allow_task_code)
                journal.say_collected()
                for target, checkpoint in _free_first(results, plan, waiting.values(), leases):
                    _compute(target, checkpoint, tasks, leases, journal, report)
                    name = checkpoint.full_name
                    say(f"{name}: {for_reader(report.lacking.get(name, Phrase('metrics computed')))}")
        finally:
            leases.give_back_all()
    note_training(results.path)
    return report


def _waiting(
    results: ResultsFolder, report: LaterMetrics
) -> Iterator[tuple[Plan, dict[str, CheckpointRecord]]]:
    """Yield each plan with the checkpoints, by name, that have all of its scores and no metrics."""
    index = ResultsIndex(results)
    series_of: dict[str, set[str]] = {}
    for run in index.runs:
        series_of.setdefault(run.plan_id, set()).update(run.series)
    checkpoints = [
        checkpoint
        for checkpoint in index.checkpoints()
        if checkpoint.model[1].endswith(f"-v{SCORING_VERSION}")
    ]
    for plan_id, series in series_of.items():
        plan = None
        found = {}
        for checkpoint in checkpoints:
            if checkpoint.series not in series:
                continue
            name = checkpoint.full_name
            if plan is None:
                if index.has_metrics(plan_id, checkpoint):
                    continue
                if not looks_whole(results.requests_path(plan_id)):
                    report.unscored.append(name)  # of an earlier Milepost, which kept too little of the plan
                    continue
                plan = read_stored_plan(results, plan_id)
            target = stored_target(results, plan, checkpoint)
            if target.stored_metrics() is not None:
                continue
            if target.missing_shards(verify=True):
                report.unscored.append(name)
            else:
                found[name] = checkpoint
        if plan is not None and found:
            yield plan, found


def _free_first(
    results: ResultsFolder, plan: Plan, checkpoints: Iterable[CheckpointRecord], leases: Leases
) -> Iterator[tuple[Target, CheckpointRecord]]:
    """Yield each checkpoint, those that another process has under way last: so several share the work."""
    busy = []
    for checkpoint in checkpoints:
        target = stored_target(results, plan, checkpoint)
        if leases.others_at(metrics_unit(target)):
            busy.append((target, checkpoint))
        else:
            yield target, checkpoint
    yield from busy


def stored_target(results: ResultsFolder, plan: Plan, checkpoint: CheckpointRecord) -> Target:
    """Return where the scores of a checkpoint under a plan are."""
    model_id, numerics = checkpoint.model
    return Target(results, plan, model_id, numerics.rpartition("-v")[0])


def _compute(
    target: Target,
    checkpoint: CheckpointRecord,
    tasks: PlannedTasks,
    leases: Leases,
    journal: Journal,
    report: LaterMetrics,
) -> None:
    path = target.results.log_folder(checkpoint.series, checkpoint.name) / "evaluation.log"
    with journal.evaluation_log(path) as log:
        start = time.monotonic()
        lacking = ensure_metrics(target, tasks, leases)
        log.info("metrics computed in %.1f s", time.monotonic() - start)
    if lacking:
        report.lacking[checkpoint.full_name] = lacking
    else:
        report.computed.append(checkpoint.full_name)
