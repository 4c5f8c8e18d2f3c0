"""Tell how far the newest runs of a results folder are, and when they will have finished."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from milepost.store.index import ResultsIndex
from milepost.store.status import CheckpointStatus, SeriesStatus, by_step, read_status, stored_shards
from milepost.store.united_index import LiveUnitedIndex
from milepost.store.workers import WorkerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of the newest run of each series."""

    workers: tuple[WorkerRecord, ...]
    """Processes at work, the oldest first."""
    series: tuple[SeriesStatus, ...]
    tokens: float
    """Tokens of the newest runs."""
    share: float
    """Those of them that have scores; 1 where nothing was asked for."""
    seconds_left: float | None = field(compare=False)
    """The estimate of the processes at work, as `milepost status` shows it; None before they have one.

    It falls with each second, which is no news."""

    @property
    def checkpoints(self) -> tuple[CheckpointStatus, ...]:
        """The checkpoints of all series."""
        return tuple(checkpoint for series in self.series for checkpoint in series.checkpoints)

    @property
    def n_done(self) -> int:
        """Checkpoints that have metrics."""
        return sum(series.n_done for series in self.series)


def read_progress(index: ResultsIndex) -> Progress:
    """Return the progress as it is now. Nothing is written, not even to ask a file system for its time.

    Raises:
        ResultsError: a damaged record.
    """
    if isinstance(index, LiveUnitedIndex):
        return _together([_renamed(index, part, read_progress(part)) for part in index.parts])
    status = read_status(index, now=time.time())
    total = done = 0.0
    for series in status.series:
        for checkpoint in series.checkpoints:
            tokens = _tokens(index, checkpoint.plan_id)
            total += sum(tokens.values())
            done += _tokens_done(index, series.series, checkpoint, tokens)
    return Progress(
        workers=status.workers,
        series=status.series,
        tokens=total,
        share=done / total if total else 1.0,
        seconds_left=status.left_s,
    )


def _tokens_done(
    index: ResultsIndex, series: str, checkpoint: CheckpointStatus, tokens: dict[str, float]
) -> float:
    if checkpoint.has_metrics:
        return sum(tokens.values())
    visit = index.visit(series, checkpoint.checkpoint)
    stored = set() if visit is None else stored_shards(index.folder, visit)
    return sum(tokens[shard] for shard in stored.intersection(tokens))


def _renamed(index: LiveUnitedIndex, part: ResultsIndex, progress: Progress) -> Progress:
    names = (replace(each, series=index.name_of(part, each.series)) for each in progress.series)
    return replace(progress, series=tuple(names))


def _together(found: Sequence[Progress]) -> Progress:
    """Return the progress of several folders as one: all is done when the slowest is."""
    total = sum(each.tokens for each in found)
    by_name: dict[str, SeriesStatus] = {}
    for series in (series for each in found for series in each.series):
        known = by_name.get(series.series)
        by_name[series.series] = series if known is None else _one_series(known, series)
    return Progress(
        workers=tuple(worker for each in found for worker in each.workers),
        series=tuple(by_name.values()),
        tokens=total,
        share=sum(each.share * each.tokens for each in found) / total if total else 1.0,
        seconds_left=max(
            (each.seconds_left for each in found if each.seconds_left is not None), default=None
        ),
    )


def _one_series(one: SeriesStatus, other: SeriesStatus) -> SeriesStatus:
    """Return the state of a series that lies in two folders: a checkpoint is done when it is in both."""
    found = {each.checkpoint: each for each in one.checkpoints}
    for each in other.checkpoints:
        known = found.get(each.checkpoint)
        found[each.checkpoint] = each if known is None else _one_checkpoint(known, each)
    return replace(one, checkpoints=tuple(found[name] for name in sorted(found, key=by_step)))


def _one_checkpoint(one: CheckpointStatus, other: CheckpointStatus) -> CheckpointStatus:
    if one.plan_id == other.plan_id:  # the same records, in one folder or in both
        return max(one, other, key=lambda each: (each.has_metrics, each.shards_done))
    return replace(
        one,
        shards_done=one.shards_done + other.shards_done,
        shards=one.shards + other.shards,
        has_metrics=one.has_metrics and other.has_metrics,
        failure=one.failure or other.failure,
    )


def _tokens(index: ResultsIndex, plan_id: str) -> dict[str, float]:
    """Return the tokens of each shard of a plan; requests where the record does not say."""
    return {
        shard.shard_id: (shard.last - shard.first) * (task.n_tokens / (task.n_requests or 1) or 1.0)
        for task in index.plan(plan_id).tasks
        for shard in task.shards
    }
