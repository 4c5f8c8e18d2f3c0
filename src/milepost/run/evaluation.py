"""Evaluate checkpoints: one `milepost run` from SOURCEs to metrics.

Everything that can be wrong with the command is found before anything is written, cheap checks first. Each
checkpoint is read while the one before it is scored, and what is stored is not computed again. A checkpoint
that cannot be used is noted, and the others go on.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from milepost.errors import MilepostError, SourceError
from milepost.plan.plan import Plan
from milepost.results.training import note_training
from milepost.run.callbacks import NoCallback, RunCallback, begun
from milepost.run.config import EvalConfig
from milepost.run.context import RunContext
from milepost.run.device import resolve_device
from milepost.run.disk_estimate import announce_work
from milepost.run.display.journal import Journal
from milepost.run.display.progress import show_progress
from milepost.run.display.timing import Clock, LongRunPolicy
from milepost.run.executors.choice import check_cluster, choose_executor
from milepost.run.executors.executor import Work
from milepost.run.executors.local import workers_at_a_device
from milepost.run.executors.this_process import ThisProcess
from milepost.run.model_memory import check_memory
from milepost.run.outcome import Failure, Outcome
from milepost.run.plans.plan_folder import write_saved_plan
from milepost.run.plans.preparation import Preparation, import_weights, prepare
from milepost.run.quick import estimate_full_job, first_middle_last
from milepost.run.records import note_failure, write_records
from milepost.run.scoring.engine_checks import check_engine
from milepost.run.scoring.jobs import CheckpointJob, make_jobs
from milepost.run.series.series_names import claim_names, name_by_source
from milepost.run.software_versions import can_compute_metrics
from milepost.run.target import plan_shards, work_by_task
from milepost.sources import Overrides, discover_all
from milepost.store import ResultsFolder
from milepost.store.beginning import begun_folder
from milepost.store.cleanup import sweep
from milepost.store.folder import check_writable
from milepost.store.leases import Leases
from milepost.store.workers import Worker
from milepost.tasks.registry import check_settings
from milepost.text.language import Phrase
from milepost.types.checkpoints import Series

logger = logging.getLogger("milepost.run")


def evaluate_run(
    config: EvalConfig,
    journal: Journal,
    callback: RunCallback | None = None,
    policy: LongRunPolicy | None = None,
) -> Outcome:
    """Evaluate every checkpoint of the sources; `callback` is called for each that has metrics.

    Raises:
        MilepostError: the command is wrong, no checkpoint is usable, the devices or the cluster are not to be
            had; where nothing was scored, nothing has been written then.
    """
    with journal.timed(Phrase("checking the tasks")):
        check_run(config)
        check_device(config)
    with journal.timed(Phrase("looking for the checkpoints")):
        found = find_series(config)
    return evaluate_series(found, config, journal, callback, policy)


def evaluate_series(
    found: Sequence[Series],
    config: EvalConfig,
    journal: Journal,
    callback: RunCallback | None = None,
    policy: LongRunPolicy | None = None,
) -> Outcome:
    """Evaluate the checkpoints of these series. Raises as `evaluate_run`."""
    began = time.monotonic()
    named = name_by_source(config.output_path, found)
    chosen = [first_middle_last(series) for series in named] if config.quick else named
    preparation = prepare(chosen, config, journal)
    check_engine(config, preparation.checkpoints, preparation.plans)
    results = ResultsFolder(config.output_path)
    jobs = make_jobs(results, preparation, config)
    unscored = [job for job in jobs if job.missing]
    if unscored:
        check_cluster(config)
    if unscored and config.placement.executor == "local" and config.engine != "openai":
        n_workers = workers_at_a_device(config)
        check_memory(unscored, preparation, config, resolve_device(config.device), n_workers)
    outcome = Outcome(results, failed=_refused(preparation))
    context = RunContext(
        config=config,
        preparation=preparation,
        results=results,
        journal=journal,
        callback=callback or NoCallback(),
        policy=policy or LongRunPolicy(),
        clock=_clock(jobs, policy or LongRunPolicy()),
        outcome=outcome,
    )
    if any(not context.is_finished(job) for job in jobs):
        import_weights(journal)
        context.clock.skips_first = context.device != "cpu"
    preparation_s = time.monotonic() - began
    with begun_folder(config.output_path):
        # Another process may just have begun with a series of that name.
        if not claim_names(results, found, named):
            return evaluate_series(found, config, journal, callback, policy)
        _run_jobs(jobs, context)
    if not config.leaves_metrics:
        note_training(results.path)
    if config.quick:
        outcome.full_job = estimate_full_job(jobs, context, preparation_s, named)
    return outcome


def _clock(jobs: Sequence[CheckpointJob], policy: LongRunPolicy) -> Clock:
    whole = work_by_task(plan_shards(jobs[0].plan))
    later = (
        {task: work * policy.models_after for task, work in whole.items()} if policy.models_after else None
    )
    return Clock({job.checkpoint: job.work for job in jobs}, later)


def _run_jobs(jobs: Sequence[CheckpointJob], context: RunContext) -> None:
    """Do the jobs, with the records of the run written first."""
    config, results = context.config, context.results
    left = [job for job in jobs if not context.is_finished(job)]
    try:
        with Worker(results, {"command": config.command_line()}) as worker:
            sweep(results)
            write_records(results, context.preparation.by_plan(), config, context.device if left else None)
            for failure in context.outcome.failed:
                note_failure(results, failure)
            leases = Leases(results, worker)
            with begun(context.callback, results, leases):
                announce_work(left, results.path)
                with show_progress(len(jobs), context.clock, worker.note_left) as progress:
                    executor = choose_executor(config) if left else ThisProcess()
                    executor.run(Work(jobs, context, worker, leases, progress))
    except KeyboardInterrupt:
        logger.warning("interrupted; what is scored is kept, and the same command goes on from there")
        raise


def save_run_plan(config: EvalConfig, journal: Journal, folder: Path) -> Plan:
    """Save the plan of a run in `folder`; no weights are read and nothing is scored.

    Raises:
        MilepostError: the command is wrong, no checkpoint is usable, or the folder cannot be written.
    """
    check_settings(config.tasks)
    preparation = prepare(find_series(config), config, journal, reads_weights=False)
    return write_saved_plan({plan.plan_id: plan for plan in preparation.plans}.values(), folder)


def batch_script(config: EvalConfig, journal: Journal) -> str:
    """Return the script of the jobs that `--executor slurm` would submit; nothing is written or submitted.

    Raises:
        MilepostError: the command is wrong, or no checkpoint is usable.
    """
    from milepost.run.executors.slurm_arrays import script_of

    check_run(config)
    found = name_by_source(config.output_path, find_series(config))
    preparation = prepare(found, config, journal, reads_weights=False)
    return script_of(config, make_jobs(ResultsFolder(config.output_path), preparation, config))


def check_run(config: EvalConfig) -> None:
    """Check what can be checked before any checkpoint is looked for.

    Raises:
        MilepostError: the results folder cannot be written, or a task is not known.
    """
    check_writable(config.output_path)
    if config.plan is None and can_compute_metrics():
        check_settings(config.tasks)


def find_series(
    config: EvalConfig, skip: Callable[[str, SourceError], None] | None = None
) -> tuple[Series, ...]:
    """Return the checkpoints that exist now.

    Args:
        skip: called with a source that has none, and the error; the others are returned then.

    Raises:
        SourceError: see `sources.discover_all`.
    """
    overrides = Overrides(config=config.config, base=config.base)
    return discover_all(config.sources, config.steps, overrides, skip)


def check_device(config: EvalConfig) -> None:
    """Check that the devices, workers and libraries that a run asks for are here.

    Raises:
        MilepostError: they are not.
    """
    if config.device != "auto":
        resolve_device(config.device)
    if config.placement.device_map is not None and importlib.util.find_spec("accelerate") is None:
        raise MilepostError("--device-map auto needs accelerate", "pip install accelerate")
    if config.placement.asks_for_workers or config.placement.executor != "local":
        choose_executor(config)


def _refused(preparation: Preparation) -> list[Failure]:
    return [
        Failure(checkpoint, reason) for series in preparation.series for checkpoint, reason in series.refused
    ]
