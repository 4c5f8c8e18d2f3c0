"""Report how far each checkpoint is with what it was last asked, and which processes are at work."""

from __future__ import annotations

import re
from dataclasses import dataclass

from milepost.store import listing
from milepost.store.folder import ResultsFolder
from milepost.store.index import ResultsIndex
from milepost.store.records import CheckpointRecord, RunRecord
from milepost.store.workers import WorkerRecord, live_workers
from milepost.types.checkpoints import step_order


@dataclass(frozen=True, slots=True)
class CheckpointStatus:
    """Progress of one checkpoint with the newest plan that it was asked."""

    checkpoint: str
    plan_id: str
    shards_done: int
    shards: int
    has_metrics: bool
    failure: str | None = None
    """Reason why its last visit failed."""


@dataclass(frozen=True, slots=True)
class SeriesStatus:
    """The checkpoints that any run of a series was asked for: a watch makes a run of each that appears."""

    series: str
    plan_id: str
    """The plan of the newest run."""
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

    @property
    def left_s(self) -> float | None:
        """Seconds until all is done, by the estimates of the processes that share the work; None without."""
        known = [worker.left_s for worker in self.workers if worker.left_s is not None]
        if not known:
            return None
        return 0.0 if min(known) <= 0 else 1 / sum(1 / left_s for left_s in known)


def read_status(index: ResultsIndex, *, now: float | None = None) -> Status:
    """Return the state of a results folder.

    Args:
        now: as of `live_workers`.

    Raises:
        ResultsError: a damaged record.
    """
    newest: dict[str, RunRecord] = {}
    for run in index.runs:
        for series in run.series:
            newest.setdefault(series, run)
    found = tuple(
        SeriesStatus(
            series,
            run.plan_id,
            run.command,
            tuple(
                _checkpoint(index, series, name, plan_id)
                for name, plan_id in _last_asked(index, series).items()
            ),
        )
        for series, run in newest.items()
    )
    return Status(index.folder, tuple(live_workers(index.folder, now)), found)


def without_metrics(index: ResultsIndex) -> list[str]:
    """Return `series/checkpoint` of those that have all scores of their newest plan, and no metrics.

    Raises:
        ResultsError: a damaged record.
    """
    found = []
    for series in dict.fromkeys(series for run in index.runs for series in run.series):
        for name, plan_id in _last_asked(index, series).items():
            visit = index.visit(series, name)
            if visit is None or not visit.model_id or index.has_metrics(plan_id, visit):
                continue
            if set(index.plan(plan_id).shard_ids) <= stored_shards(index.folder, visit):
                found.append(visit.full_name)
    return found


def _last_asked(index: ResultsIndex, series: str) -> dict[str, str]:
    """Return the newest plan of each checkpoint that any run of a series was asked for, by step."""
    found: dict[str, str] = {}
    for run in index.runs:
        for name in run.checkpoints.get(series, ()):
            found.setdefault(name, run.plan_id)
    return {name: found[name] for name in sorted(found, key=by_step)}


def by_step(name: str) -> tuple[bool, int, str]:
    """Return a sort key from a checkpoint's name: one that is not visited yet has no record of its step."""
    numbers = re.findall(r"\d+", name)
    return step_order(int(numbers[-1]) if numbers else None, name)


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
    try:
        names = listing.names(folder)
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {name.removesuffix(".parquet") for name in names if name.endswith(".parquet")}
