"""Report how far the newest run of each series is, from the stored records and the processes at work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from milepost.store import safe_paths as inside
from milepost.store.folder import ResultsFolder
from milepost.store.index import ResultsIndex
from milepost.store.reading import newest_command
from milepost.store.records import CheckpointRecord, RunRecord
from milepost.store.workers import WorkerRecord, live_workers


@dataclass(frozen=True, slots=True)
class CheckpointStatus:
    """Progress of one checkpoint with the newest plan of its series."""

    checkpoint: str
    plan_id: str
    shards_done: int
    shards: int
    has_metrics: bool
    failure: str | None = None
    """Reason why its last visit failed."""


@dataclass(frozen=True, slots=True)
class SeriesStatus:
    """The checkpoints that the newest run of a series was asked for."""

    series: str
    plan_id: str
    command: str | None
    checkpoints: tuple[CheckpointStatus, ...]

    @property
    def n_done(self) -> int:
        return sum(checkpoint.has_metrics for checkpoint in self.checkpoints)


@dataclass(frozen=True, slots=True)
class Status:
    """Processes at work on a results folder, and the progress of each series."""

    results: ResultsFolder
    workers: tuple[WorkerRecord, ...]
    series: tuple[SeriesStatus, ...]


def read_status(index: ResultsIndex, *, now: float | None = None) -> Status:
    """Return the state of a results folder.

    Args:
        now: as of `live_workers`.

    Raises:
        ResultsError: a damaged record.
    """
    series = tuple(_series(index, series, runs) for series, runs in _newest_runs(index).items())
    return Status(index.folder, tuple(live_workers(index.folder, now)), series)


def without_metrics(index: ResultsIndex) -> list[str]:
    """Return `series/checkpoint` of those that have all scores of their newest plan, and no metrics.

    Raises:
        ResultsError: a damaged record.
    """
    found = []
    for series, runs in _newest_runs(index).items():
        for run in reversed(runs):
            for name in run.checkpoints.get(series, ()):
                visit = index.visit(series, name)
                if visit is None or not visit.model_id or index.has_metrics(run.plan_id, visit):
                    continue
                if set(index.plan(run.plan_id).shard_ids) <= stored_shards(index.folder, visit):
                    found.append(visit.full_name)
    return found


def _newest_runs(index: ResultsIndex) -> dict[str, list[RunRecord]]:
    """Return, by series, the records of the newest command that asked for it, the newest first."""
    newest: dict[str, list[RunRecord]] = {}
    for i, run in enumerate(index.runs):
        for series in run.series:
            if series not in newest:
                newest[series] = [one for one in newest_command(index.runs[i:]) if series in one.series]
    return newest


def _series(index: ResultsIndex, series: str, runs: Sequence[RunRecord]) -> SeriesStatus:
    """Return the state of a series by the records of one command that name it, the newest first."""
    checkpoints = [
        _checkpoint(index, series, name, run.plan_id)
        for run in reversed(runs)
        for name in run.checkpoints.get(series, ())
    ]
    return SeriesStatus(series, runs[0].plan_id, runs[0].command, tuple(checkpoints))


def _checkpoint(index: ResultsIndex, series: str, name: str, plan_id: str) -> CheckpointStatus:
    visit = index.visit(series, name)
    failure = None if visit is None else visit.failure
    if visit is None or not visit.model_id:
        return CheckpointStatus(name, plan_id, 0, len(index.plan(plan_id).shard_ids), False, failure)
    shards = index.plan(plan_id).shard_ids
    stored = stored_shards(index.folder, visit).intersection(shards)
    return CheckpointStatus(
        name, plan_id, len(stored), len(shards), index.has_metrics(plan_id, visit), failure
    )


def stored_shards(results: ResultsFolder, visit: CheckpointRecord) -> set[str]:
    """Return the shards of which a checkpoint has scores, of any plan.

    The folder is listed, as a network file system may deny for half a minute that a new file exists.
    """
    folder = results.score_path(*visit.model, "").parent
    inside.check(folder)
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {name.removesuffix(".parquet") for name in names if name.endswith(".parquet")}
