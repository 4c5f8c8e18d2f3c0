"""Count what is left to do of each checkpoint, and of all together."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from milepost.run.executors.schedule.units import ShardCost


@dataclass(slots=True)
class Left:
    """The shards of all checkpoints that no worker has."""

    n_shards: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    """By kind of shard."""

    def add(self, cost: ShardCost, sign: int) -> None:
        """Count a shard in (1) or out (-1)."""
        self.n_shards += sign
        self.tokens[cost.kind] += sign * cost.tokens


@dataclass(slots=True)
class CheckpointWork:
    """The state of a checkpoint."""

    costs: Sequence[ShardCost]
    left: Left
    is_open: bool
    """Whether the model is known, so that several workers may score it."""
    pending: deque[int] = field(default_factory=deque)
    tokens: int = 0
    """Tokens of the pending shards."""
    workers: set[int] = field(default_factory=set)
    """Those that have a unit of it."""
    failed: set[int] = field(default_factory=set)
    is_refused: bool = False

    @property
    def is_finished(self) -> bool:
        return self.is_refused or not (self.pending or self.workers)

    @property
    def may_be_joined(self) -> bool:
        """Return whether another worker may score it now."""
        return self.is_open or not self.workers

    def set_pending(self, shards: Iterable[int]) -> None:
        """Put these shards in the place of what was pending."""
        shards = list(shards)
        while self.pending:
            self.take()
        for shard in shards:
            self._count(shard, 1)
        self.pending = deque(shards)

    def take(self) -> int:
        """Take the next shard."""
        shard = self.pending.popleft()
        self._count(shard, -1)
        return shard

    def _count(self, shard: int, sign: int) -> None:
        self.tokens += sign * self.costs[shard].tokens
        self.left.add(self.costs[shard], sign)
