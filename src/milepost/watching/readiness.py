"""Whether a checkpoint of a live run may be touched: whole by its content, and nobody writing to it.

A folder's name says nothing: trainers make the folder first and fill it for minutes. So a checkpoint is
ready when what discovery reads of it (headers, lengths, shards against their index, the run's tracker) shows
nothing missing, when no file in it came, grew or changed for a while, and when it has every file that all
the checkpoints before it have (a trainer's last file is missing until the save is done).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from milepost.types import Checkpoint

PATIENCE = 60
"""So many times the settling time a checkpoint waits for files that only the others have."""

Look = tuple[tuple[str, int, int], ...]
"""Name, size and time of change in nanoseconds of every file below a folder."""


def look_at(checkpoint: Checkpoint) -> Look | None:
    """What a checkpoint consists of now; None where it is gone. A commit of the Hub never changes."""
    location = checkpoint.location
    if not isinstance(location, Path):
        return ((location.commit, 0, 0),)
    if not location.is_dir():
        return None
    found = []
    for folder, _, names in os.walk(location):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except OSError:  # renamed or removed while we look: it is not at rest
                found.append((path, -1, -1))
                continue
            found.append((os.path.relpath(path, location), status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))


@dataclass(slots=True)
class _Seen:
    look: Look
    since: float


@dataclass(slots=True)
class Readiness:
    """Remembers what the checkpoints of a run looked like, to see when they have come to rest."""

    settle_s: float
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _common: dict[str, set[str]] = field(default_factory=dict)
    """Series to the names of the files that each of its ready checkpoints had."""

    def waits_for(self, checkpoint: Checkpoint) -> str | None:
        """What has to happen before the checkpoint may be touched; None where it is ready."""
        look = look_at(checkpoint)
        if look is None:
            return "it was deleted"
        if checkpoint.problem is not None:
            self._seen.pop(checkpoint.source, None)
            return checkpoint.problem
        if not isinstance(checkpoint.location, Path):
            return None
        now = self.clock()
        seen = self._seen.get(checkpoint.source)
        if seen is None or seen.look != look:
            seen = self._seen[checkpoint.source] = _Seen(look, now)
        at_rest_s = now - seen.since
        if at_rest_s < self.settle_s:
            return "it is still being written"
        names = {name for name, _, _ in look}
        lacking = self._common.get(checkpoint.series, names) - names
        if lacking and at_rest_s < PATIENCE * self.settle_s:
            return f"it has no {min(lacking)}, which the others have"
        self._common[checkpoint.series] = self._common.get(checkpoint.series, names) & names
        return None
