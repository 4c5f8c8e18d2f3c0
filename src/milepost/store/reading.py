"""Read the records of a results folder as they are now, for processes that work on it."""

from __future__ import annotations

from pathlib import Path

from milepost.store import file_state, listing
from milepost.store import safe_paths as inside
from milepost.store.folder import ResultsFolder
from milepost.store.metrics_record import MetricsRecord
from milepost.store.records import CheckpointRecord, PlanRecord, RunRecord, read_record
from milepost.types.checkpoints import step_order


def read_runs(results: ResultsFolder) -> list[RunRecord]:
    """Return the records of `ResultsFolder.write_run`, the newest first.

    Raises:
        ResultsError: one is damaged.
    """
    paths = results.run_paths()
    inside.bring(paths)
    return [read_record(RunRecord, path) for path in reversed(paths)]


def read_plan(results: ResultsFolder, plan_id: str) -> PlanRecord:
    """Return a plan. Raises: ResultsError if its record is missing or damaged."""
    return read_record(PlanRecord, results.plan_path(plan_id))


def visit_paths(results: ResultsFolder) -> list[Path]:
    """Return the records of each checkpoint's last visit, also of checkpoints that could not be used.

    Raises:
        ResultsError: a link leads out of the folder.
    """
    return listing.files_below(results.folder_of("checkpoints"), "*.json")


def read_checkpoints(results: ResultsFolder, series: str) -> list[CheckpointRecord]:
    """Return the checkpoints of a series that stand for a model, by step.

    Raises:
        ResultsError: a record is damaged.
    """
    paths = listing.files(results.checkpoints_folder(series), "*.json")
    records = [read_record(CheckpointRecord, path) for path in paths]
    return sorted((record for record in records if record.model_id), key=place_in_series)


def read_metrics(results: ResultsFolder, plan_id: str, checkpoint: CheckpointRecord) -> MetricsRecord | None:
    """Return a checkpoint's metrics under one plan; None before it is scored.

    Raises:
        ResultsError: the record is damaged.
    """
    path = results.metrics_path(plan_id, *checkpoint.model)
    return read_record(MetricsRecord, path) if file_state.exists(path) else None


def place_in_series(checkpoint: CheckpointRecord) -> tuple[bool, int, str]:
    """Sort key of the checkpoints of a series."""
    return step_order(checkpoint.step, checkpoint.name)
