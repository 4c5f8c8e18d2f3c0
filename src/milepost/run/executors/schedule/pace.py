"""Measure how long shards take, and expect the same of others."""

from __future__ import annotations

from collections import Counter, defaultdict

from milepost.run.executors.schedule.units import ShardCost


class Pace:
    """Seconds per token, by kind of shard and by worker, as measured."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._tokens: Counter[str] = Counter()
        self._first: tuple[float, int] | None = None
        """Time and tokens of a worker's first shard, which may have compiled: used until there are others."""
        self._of_worker: dict[int, tuple[float, float]] = {}
        """Seconds that a worker took, and seconds that all workers' speed lets one expect."""

    def measured(self, cost: ShardCost, worker: int, seconds: float, *, is_first: bool) -> None:
        """Add the time of a shard; `is_first`: the first one of its worker."""
        if is_first:
            self._first = self._first or (seconds, cost.tokens)
            return
        expected = self.seconds(cost)
        if expected is not None:
            took, expect = self._of_worker.get(worker, (0.0, 0.0))
            self._of_worker[worker] = took + seconds, expect + expected
        self._seconds[cost.kind] += seconds
        self._tokens[cost.kind] += cost.tokens
        self._seconds[""] += seconds
        self._tokens[""] += cost.tokens

    def seconds(self, cost: ShardCost, worker: int | None = None) -> float | None:
        """Return the expected seconds of a shard, for a worker or on average; None before any is measured."""
        kind = cost.kind if self._tokens[cost.kind] else ""
        if self._tokens[kind]:
            of_all = self._seconds[kind] / self._tokens[kind] * cost.tokens
        elif self._first is not None and self._first[1]:
            of_all = self._first[0] / self._first[1] * cost.tokens
        else:
            return None
        took, expected = self._of_worker.get(-1 if worker is None else worker, (0.0, 0.0))
        return of_all * took / expected if expected > 0 else of_all
