"""The strip on every page that says how far the run is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from milepost.report.blocks import Block, Line
from milepost.report.table import Cell
from milepost.results.progress import Progress
from milepost.safe_text import printable

MINUTE_S = 60


class ProgressData(TypedDict):
    """Progress of the newest runs."""

    running: int
    checkpoints_done: int
    checkpoints: int
    shards_done: int
    shards: int
    share: float
    seconds_left: float | None
    failed: int


def progress_data(progress: Progress) -> ProgressData:
    """Return the progress as data."""
    checkpoints = progress.checkpoints
    return {
        "running": len(progress.workers),
        "checkpoints_done": progress.n_done,
        "checkpoints": len(checkpoints),
        "shards_done": sum(each.shards_done for each in checkpoints),
        "shards": sum(each.shards for each in checkpoints),
        "share": progress.share,
        "seconds_left": progress.seconds_left,
        "failed": sum(each.failure is not None for each in checkpoints),
    }


def progress_blocks(progress: Progress) -> tuple[Block, ...]:
    """Return one line: running or not, how far, how long still; nothing where all is done."""
    return tuple(_lines(progress))


def _lines(progress: Progress) -> Iterator[Block]:
    data = progress_data(progress)
    if not data["running"] and data["checkpoints_done"] == data["checkpoints"]:
        return
    stopped = [worker for worker in progress.workers if worker.stopped]
    state = "running" if len(stopped) < data["running"] else "stopped"
    at = [worker.record for worker in progress.workers if "checkpoint" in worker.record]
    parts = [
        f"{data['checkpoints_done']} of {data['checkpoints']} checkpoints",
        f"{data['shards_done']:,} of {data['shards']:,} shards",
        f"{data['share']:.1%}",
    ]
    if data["seconds_left"] is not None:
        parts.append(f"{time_left(data['seconds_left'])} left")
    parts += [f"at {printable(str(each.get('series')))} {printable(str(each['checkpoint']))}" for each in at]
    if data["failed"]:
        parts.append(f"{data['failed']} failed")
    yield Line(
        (Cell(state if progress.workers else "not running", "strong"), Cell(" · " + " · ".join(parts)))
    )


def time_left(seconds: float) -> str:
    """Return `40 s`, `12 min` or `3.4 h`."""
    if seconds < 2 * MINUTE_S:
        return f"{seconds:.0f} s"
    minutes = seconds / MINUTE_S
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
