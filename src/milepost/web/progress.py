"""The strip on every page that says how far the run is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from milepost.report.blocks import Block
from milepost.report.blocks import Progress as ProgressBar
from milepost.results.progress import Progress
from milepost.text.durations import time_left
from milepost.text.language import _, ngettext
from milepost.text.safe_text import printable


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
    """Return how far the newest runs are, how long still, and what failed; nothing where all is done."""
    return tuple(_blocks(progress))


def _blocks(progress: Progress) -> Iterator[Block]:
    data = progress_data(progress)
    left = data["checkpoints"] - data["checkpoints_done"] - data["failed"]
    if not data["running"] and left <= 0:
        return
    notes = [
        f"{progress.share:.1%}",
        _("{done} of {all} checkpoints", done=data["checkpoints_done"], all=data["checkpoints"]),
    ]
    if data["seconds_left"] is not None:
        notes.append(time_left(data["seconds_left"]))
    places = [worker.record for worker in progress.workers if "checkpoint" in worker.record]
    for place in dict.fromkeys(f"{each.get('series')} {each['checkpoint']}" for each in places):
        notes.append(_("at {place}", place=printable(place)))
    if data["failed"]:
        notes.append(ngettext("{n} failed", "{n} failed", data["failed"]))
    yield ProgressBar(_state(progress), data["shards_done"], data["shards"], " · ".join(notes))


def _state(progress: Progress) -> str:
    if not progress.workers:
        return _("not running")
    return _("stopped") if all(worker.stopped for worker in progress.workers) else _("running")
