"""Write the records of a run: its config and plans, the model of each checkpoint name, and failures."""

from __future__ import annotations

import logging
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.files.cache import cache_folder
from milepost.plan.plan import Plan
from milepost.run.config import EvalConfig
from milepost.run.outcome import Failure
from milepost.run.plans.plan_from_records import write_requests
from milepost.run.software_versions import versions
from milepost.run.target import Target
from milepost.sources import identify
from milepost.store import ResultsFolder, file_state, listing
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import cannot_write, is_intact
from milepost.store.picks import write_choices
from milepost.store.reading import read_runs
from milepost.store.records import (
    CheckpointRecord,
    PlannedTask,
    PlanRecord,
    RunRecord,
    ShardRecord,
    read_if_intact,
    write_record,
)
from milepost.store.tables import copy_table, looks_whole
from milepost.text.credentials import redacted, without_secrets
from milepost.types.checkpoints import Checkpoint

logger = logging.getLogger("milepost.run")


def note_visit(results: ResultsFolder, checkpoint: Checkpoint, target: Target, **details: Any) -> None:
    """Record which model the checkpoint's name stands for; what is known of that model already is kept.

    Args:
        details: other fields of the record, such as the engine.
    """
    path = results.checkpoint_path(checkpoint.series, checkpoint.name)
    before = read_if_intact(CheckpointRecord, path)
    record = before
    if record is None or record.model != (target.model_id, target.numerics):
        record = CheckpointRecord(
            series=checkpoint.series,
            name=checkpoint.name,
            step=checkpoint.step,
            model_id=target.model_id,
            numerics=target.numerics,
        )
    record = replace(record, **_place(checkpoint), **redacted(details), failure=None)
    if record != before:
        write_record(path, record)


def _place(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the fields of a record that may change with a visit, whichever model the checkpoint holds."""
    return {
        "step": checkpoint.step,
        "source": without_secrets(checkpoint.source),
        "format": checkpoint.format,
    }


def write_records(
    results: ResultsFolder,
    groups: dict[str, tuple[Plan, dict[str, list[str]]]],
    config: EvalConfig,
    device: str | None,
) -> None:
    """Write a record per plan of this run, unless the folder's newest records say the same.

    Args:
        groups: plan id to the plan and, by series, the names of the checkpoints that it is for.
        device: None where nothing is left to compute; the one that was used before is noted then.
    """
    _drop_damaged(results)
    earlier = read_runs(results)
    device = device or (earlier[0].device if earlier else config.device)
    records = [
        RunRecord(
            plan_id=plan_id,
            series=tuple(names),
            checkpoints={series: tuple(own) for series, own in names.items()},
            n_records=len(groups),
            command=config.command_line(),
            config=redacted(config.to_json()),
            sources=tuple(redacted(list(config.sources))),
            dtype=config.dtype,
            device=device,
            versions=versions(),
        )
        for plan_id, (_, names) in groups.items()
    ]
    for plan, _ in groups.values():
        write_plan_record(results, plan)
    newest = earlier[: len(records)]
    if [_comparable(run) for run in reversed(newest)] != [_comparable(record) for record in records]:
        for record in records:
            results.write_run(record)


def _comparable(run: RunRecord) -> RunRecord:
    """Return a run without its time and without options, such as the log level, that change no result."""
    return replace(run, time=None, config=None)


def _drop_damaged(results: ResultsFolder) -> None:
    """Remove damaged records, which would keep the table from being shown.

    This run writes the records of its own checkpoints anew; a warning names the others.
    """
    lost = {
        "runs": (results.run_paths(), "the same command has to be run again"),
        "checkpoints": (
            listing.files_below(results.folder_of("checkpoints"), "*.json"),
            "a run over it writes it again",
        ),
        "metrics": (
            listing.files_below(results.folder_of("metrics"), "*.json"),
            "a run over its checkpoint writes it again",
        ),
    }
    for paths, what_to_do in lost.values():
        for path in paths:
            if file_state.exists(path) and not is_intact(path):
                logger.warning("%s is damaged and removed; %s", path, what_to_do)
                inside.remove(path)


def log_head(
    log: logging.Logger, checkpoint: Checkpoint, target: Target, config: EvalConfig, device: str
) -> None:
    """Begin a checkpoint's `evaluation.log` with everything that its metrics depend on."""
    log.info("checkpoint %s of %s: %s", checkpoint.name, checkpoint.series, checkpoint.source)
    log.info("model %s, plan %s, numerics %s", target.model_id, target.plan.plan_id, target.numerics)
    log.info("device %s, dtype %s, engine asked for %s", device, config.dtype, config.engine)
    settings = target.plan.settings["asked"]
    log.info("asked: %s", ", ".join(f"{key}={value}" for key, value in settings.items() if value is not None))
    log.info("versions: %s", ", ".join(f"{name} {version}" for name, version in versions().items()))
    log.info("python %s on %s", platform.python_version(), platform.platform())


def note_failure(results: ResultsFolder, failure: Failure) -> None:
    """Write the reason to the checkpoint's log, and to its record for `milepost status`.

    Metrics of an earlier visit stand only while the checkpoint is still the same model.
    """
    checkpoint, reason = failure.checkpoint, without_secrets(failure.reason)
    log_path = results.log_folder(checkpoint.series, checkpoint.name) / "evaluation.log"
    try:
        with inside.append(log_path) as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} ERROR {reason}\n".encode())
    except OSError as error:
        raise cannot_write(log_path, error) from error
    path = results.checkpoint_path(checkpoint.series, checkpoint.name)
    before = read_if_intact(CheckpointRecord, path)
    record = before or CheckpointRecord(series=checkpoint.series, name=checkpoint.name, step=checkpoint.step)
    record = replace(record, **_place(checkpoint), failure=reason)
    if isinstance(checkpoint.location, Path) and record.model_id != _model_now(checkpoint):
        record = replace(record, model_id=None)
    if record != before:
        write_record(path, record)


def _model_now(checkpoint: Checkpoint) -> str | None:
    try:
        return identify(checkpoint, cache_folder()).model_id
    except CheckpointError:
        return None


def write_plan_record(results: ResultsFolder, plan: Plan) -> None:
    """Write the record of a plan, for people and for readers without lm_eval, unless it exists."""
    path = results.plan_path(plan.plan_id)
    lacking = [task for task in plan.tasks if not looks_whole(results.docs_path(task.docs_id))]
    for task in plan.tasks:
        if task.choices is not None and not looks_whole(results.choices_path(task.docs_id)):
            write_choices(results.choices_path(task.docs_id), task.choices)
    write_requests(results, plan)
    if is_intact(path) and not lacking:
        return
    tasks = tuple(
        PlannedTask(
            name=task.name,
            task_id=task.task_id,
            docs_id=task.docs_id,
            asked_id=task.asked_id,
            counting_id=plan.counting_id(task),
            n_docs=task.n_docs,
            n_requests=task.encoded.n_requests,
            n_truncated=task.encoded.n_truncated,
            n_tokens=task.n_tokens,
            shards=tuple(ShardRecord(shard.shard_id, shard.first, shard.last) for shard in task.shards),
        )
        for task in plan.tasks
    )
    for task in lacking:
        if task.docs.path is None or not copy_table(task.docs.path, results.docs_path(task.docs_id)):
            results.write_docs(task.docs_id, task.docs.table())
    record = PlanRecord(
        plan_id=plan.plan_id,
        tokenizer_id=plan.tokenizer_id,
        max_length=plan.max_length,
        settings={**plan.settings, "asked": redacted(plan.settings.get("asked", {}))},
        tasks=tasks,
    )
    write_record(path, record)
