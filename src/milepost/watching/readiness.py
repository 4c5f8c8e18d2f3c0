"""Decide when a checkpoint of a live run may be read: complete by its content, and nobody is writing to it.

A folder's name is no proof: trainers make the folder first and fill it for minutes. A checkpoint is ready
when what discovery reads of it (headers, lengths, shards against their index, the run's tracker) shows
nothing missing, when no file in it came, grew or changed for a while, and when it has every file that all
the checkpoints before it have (a trainer's last file is missing until the save is done).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from milepost.sources.bucket.listing import snapshot_of
from milepost.text.language import Phrase
from milepost.types.checkpoints import BucketLocation, Checkpoint, HubLocation

PATIENCE = 60
"""Number of settling times that a checkpoint waits for files that only the others have."""

Snapshot = tuple[tuple[str, int, int], ...]
"""Name, size and time of change in nanoseconds of every file below a folder."""


def take_snapshot(checkpoint: Checkpoint) -> Snapshot | None:
    """List the files of a checkpoint as they are now; None where it is gone. A Hub commit never changes."""
    location = checkpoint.location
    if isinstance(location, HubLocation):
        return ((location.commit, 0, 0),)
    if isinstance(location, BucketLocation):
        return snapshot_of(location)
    if not location.is_dir():
        return None
    found = []
    for folder, _, names in os.walk(location):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except OSError:  # renamed or removed during the walk: it is not at rest
                found.append((path, -1, -1))
                continue
            found.append((os.path.relpath(path, location), status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))


@dataclass(slots=True)
class _Seen:
    snapshot: Snapshot
    since: float


@dataclass(slots=True)
class Readiness:
    """Remembers the files of a run's checkpoints, to see when they no longer change."""

    settle_s: float
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _common: dict[str, set[str]] = field(default_factory=dict)
    """By series, the names of the files that each of its ready checkpoints had."""

    def waits_for(self, checkpoint: Checkpoint) -> str | None:
        """Return the reason why a checkpoint is not ready; None where it is."""
        snapshot = take_snapshot(checkpoint)
        if snapshot is None:
            return Phrase("it was deleted")
        if checkpoint.problem is not None:
            self._seen.pop(checkpoint.source, None)
            return checkpoint.problem
        if isinstance(checkpoint.location, HubLocation):
            return None
        now = self.clock()
        seen = self._seen.get(checkpoint.source)
        if seen is None or seen.snapshot != snapshot:
            seen = self._seen[checkpoint.source] = _Seen(snapshot, now)
        at_rest_s = now - seen.since
        if at_rest_s < self.settle_s:
            return Phrase("it is still being written")
        names = {name for name, _, _ in snapshot}
        lacking = self._common.get(checkpoint.series, names) - names
        if lacking and at_rest_s < PATIENCE * self.settle_s:
            return Phrase("it has no {file}, which the others have", file=min(lacking))
        self._common[checkpoint.series] = self._common.get(checkpoint.series, names) & names
        return None
