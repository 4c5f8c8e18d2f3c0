"""Blame the deaths of workers on what they worked on: three strikes, and it is given up.

Nobody can tell whether a SIGKILL came from a shard that took too much memory or from outside. What a worker
was killed on is tried again, last and alone. If another worker then scores it, or if it was killed while it
loaded a checkpoint that another had loaded, kills strike at random here (a preemption, an administrator), and
from then on each counts a third.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass

from milepost.run.executors.schedule.units import Unit

STRIKES = 3
"""Deaths on a shard, or at loading a checkpoint, before it is given up."""
THIRDS = 3
"""Parts of a strike."""


class Cause(enum.Enum):
    """The reason why a worker is gone."""

    ITSELF = "itself"
    """It crashed, hung, or took more memory than there is."""
    KILLED = "killed"
    """It was killed by SIGKILL; the system does not say why."""
    TAKEN = "taken"
    """Its machine is gone, or the cluster took it away: what it worked on is hardly to blame."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The consequence of a worker's death."""

    unit: Unit | None
    """The unit it had; None if it had none."""
    struck: int | None = None
    """The shard that it died on; None if it died before it scored one."""
    has_failed: bool = False
    """Whether the shard, or without one the checkpoint, is given up."""


class Strikes:
    """Counts deaths by what they happened on: a shard, or the loading of a checkpoint (shard None)."""

    def __init__(self) -> None:
        self._thirds: Counter[tuple[int, int | None]] = Counter()
        self._killed_on: set[tuple[int, int | None]] = set()
        self._loaded: set[int] = set()
        """Checkpoints that a worker has loaded."""
        self._kills_are_random = False

    def add(self, checkpoint: int, shard: int | None, cause: Cause) -> bool:
        """Add a death; returns whether the shard, or the checkpoint, is given up."""
        at = checkpoint, shard
        self._kills_are_random |= cause is Cause.KILLED and shard is None and checkpoint in self._loaded
        is_blamed = cause is Cause.ITSELF or (cause is Cause.KILLED and not self._kills_are_random)
        self._thirds[at] += THIRDS if is_blamed else 1
        if cause is Cause.KILLED:
            self._killed_on.add(at)
        return self._thirds[at] >= STRIKES * THIRDS

    def passed(self, checkpoint: int, shard: int | None) -> None:
        """Note that a worker has scored a shard, or loaded a checkpoint."""
        at = checkpoint, shard
        self._kills_are_random |= at in self._killed_on
        if shard is None:
            self._loaded.add(checkpoint)
            self._thirds[at] = 0

    def has(self, checkpoint: int, shard: int) -> bool:
        """Return whether a worker has died on a shard."""
        return self._thirds[checkpoint, shard] > 0
