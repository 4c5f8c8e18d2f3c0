"""Tell how far the newest runs of a results folder are, and when they will have finished.

The time left is that of the tokens that are still to score, at the speed since the processes at work began.
It rests on the times of score files alone, so that it does not matter which machine writes them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from milepost.store import file_state
from milepost.store.index import ResultsIndex
from milepost.store.status import CheckpointStatus, SeriesStatus, read_status, stored_shards
from milepost.store.workers import WorkerRecord

FEWEST_SHARDS = 2
"""Shards scored by the processes at work before a time left is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of the newest run of each series."""

    workers: tuple[WorkerRecord, ...]
    """Processes at work, the oldest first."""
    series: tuple[SeriesStatus, ...]
    share: float
    """Tokens of the newest runs that have scores, as a share; 1 where nothing was asked for."""
    seconds_left: float | None
    """None where nothing is running, or too little was scored to tell."""

    @property
    def checkpoints(self) -> tuple[CheckpointStatus, ...]:
        """The checkpoints of all series."""
        return tuple(checkpoint for series in self.series for checkpoint in series.checkpoints)

    @property
    def n_done(self) -> int:
        """Checkpoints that have metrics."""
        return sum(series.n_done for series in self.series)


class ProgressReader:
    """Reads the progress of one folder again and again; the time of each score file is asked for once."""

    def __init__(self) -> None:
        self._times: dict[Path, float] = {}

    def read(self, index: ResultsIndex) -> Progress:
        """Return the progress as it is now. Nothing is written, not even to ask a file system for its time.

        Raises:
            ResultsError: a damaged record.
        """
        status = read_status(index, now=time.time())
        begun = min((worker.since for worker in status.workers), default=None)
        total = done = 0.0
        recent: list[tuple[float, float]] = []
        for series in status.series:
            for checkpoint in series.checkpoints:
                tokens = _tokens(index, checkpoint.plan_id)
                total += sum(tokens.values())
                if checkpoint.has_metrics and begun is None:
                    done += sum(tokens.values())
                    continue
                stored = self._stored(index, series.series, checkpoint.checkpoint, tokens)
                done += sum(tokens[shard] for shard in stored)
                recent += [(moment, tokens[shard]) for shard, moment in stored.items()]
        return Progress(
            workers=status.workers,
            series=status.series,
            share=done / total if total else 1.0,
            seconds_left=None if begun is None else _seconds_left(recent, begun, total - done),
        )

    def _stored(
        self, index: ResultsIndex, series: str, name: str, tokens: Mapping[str, float]
    ) -> dict[str, float]:
        """Return the shards of a checkpoint that have scores, with the times when these were written."""
        visit = index.visit(series, name)
        if visit is None:
            return {}
        shards = stored_shards(index.folder, visit).intersection(tokens)
        return {shard: self._time(index.folder.score_path(*visit.model, shard)) for shard in shards}

    def _time(self, path: Path) -> float:
        if path not in self._times:
            with contextlib.suppress(OSError):
                self._times[path] = file_state.time_of(path)
        return self._times.get(path, 0.0)


def _tokens(index: ResultsIndex, plan_id: str) -> dict[str, float]:
    """Return the tokens of each shard of a plan; requests where the record does not say."""
    return {
        shard.shard_id: (shard.last - shard.first) * (task.n_tokens / (task.n_requests or 1) or 1.0)
        for task in index.plan(plan_id).tasks
        for shard in task.shards
    }


def _seconds_left(recent: list[tuple[float, float]], begun: float, left: float) -> float | None:
    """Return the time for `left` tokens at the speed of the shards written since a moment.

    Args:
        recent: when each shard was written, and its tokens.
    """
    since = [(moment, tokens) for moment, tokens in recent if moment > begun]
    if len(since) < FEWEST_SHARDS:
        return None
    return (max(moment for moment, _ in since) - begun) / sum(tokens for _, tokens in since) * left
