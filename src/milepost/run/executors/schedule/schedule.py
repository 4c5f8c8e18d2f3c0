"""Decide which worker scores what.

A unit is some shards of one checkpoint. A worker stays at its checkpoint, so that it loads weights once.
Units take minutes by the speed that was measured, and get smaller towards the end. When no checkpoint is left
to begin with, workers help those that have most left. Time enters only as the seconds that callers report, so
that a simulation can use the same code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence

from milepost.run.executors.schedule.checkpoint_work import CheckpointWork, Left
from milepost.run.executors.schedule.most_left import MostLeft
from milepost.run.executors.schedule.pace import Pace
from milepost.run.executors.schedule.strikes import Cause, Loss, Strikes
from milepost.run.executors.schedule.units import (
    FIRST_TOKENS,
    LEAST_S,
    TARGET_S,
    UNITS_LEFT_PER_WORKER,
    ShardCost,
    Unit,
)
from milepost.run.executors.schedule.worker_state import WorkerState


class Schedule:
    """Decides which worker scores what; told of every event, in the order in which they happen."""

    def __init__(
        self, *, target_s: float = TARGET_S, first_tokens: int = FIRST_TOKENS, waits_for_model: bool = True
    ) -> None:
        """Make a schedule without work.

        Args:
            target_s: seconds of scoring in a unit.
            first_tokens: tokens in a unit while no speed is measured.
            waits_for_model: whether only one worker gets units of a checkpoint until its model is known.
        """
        self._target_s = target_s
        self._first_tokens = first_tokens
        self._waits_for_model = waits_for_model
        self._checkpoints: dict[int, CheckpointWork] = {}
        self._workers: dict[int, WorkerState] = {}
        self._fresh: deque[int] = deque()
        """Checkpoints that no worker has been at, nor reads."""
        self._read: dict[int, int] = {}
        """Checkpoints that no worker has been at to the worker that reads them."""
        self._rest = MostLeft(self._checkpoints)
        self._left = Left()
        self._pace = Pace()
        self._load_s: list[float] = []
        self._strikes = Strikes()

    def add(
        self, checkpoint: int, costs: Sequence[ShardCost], missing: Iterable[int], *, is_open: bool = False
    ) -> None:
        """Add a checkpoint's work.

        Args:
            costs: of every shard of its plan.
            missing: places of the shards that are to be scored.
            is_open: whether its model is known.
        """
        opened = is_open or not self._waits_for_model
        self._checkpoints[checkpoint] = CheckpointWork(costs, self._left, opened)
        self._set_pending(checkpoint, missing)
        self._fresh.append(checkpoint)

    # ---- what a caller asks ---------------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Return whether nothing is pending and no worker has a unit."""
        return not self._left.n_shards and all(one.is_finished for one in self._checkpoints.values())

    def is_finished(self, checkpoint: int) -> bool:
        """Return whether nothing of a checkpoint is left to do."""
        return self._checkpoints[checkpoint].is_finished

    def failed(self, checkpoint: int) -> list[int]:
        """Return the shards of a checkpoint that are given up."""
        return sorted(self._checkpoints[checkpoint].failed)

    def next_unit(self, worker: int) -> Unit | None:
        """Return what a worker without a unit does next; None if there is nothing for anybody now.

        It may be asked again after the next event.
        """
        own = self._workers.setdefault(worker, WorkerState())
        assert own.unit is None, "the worker has a unit"
        chosen = self._choose(own) if self._left.n_shards else None
        if chosen is None:
            return None
        if chosen != own.at:
            own.at, own.is_loaded = chosen, False
        own.unit = Unit(chosen, self._cut(chosen, worker))
        own.scored.clear()
        self._checkpoints[chosen].workers.add(worker)
        return own.unit

    def upcoming(self, worker: int) -> int | None:
        """Return the checkpoint that a worker begins with next, to read it meanwhile; or None.

        It is kept for that worker until another has nothing else to begin with.
        """
        own = self._workers[worker]
        if own.at is not None and self._checkpoints[own.at].pending:
            return None
        if own.next_at is None and self._fresh:
            own.next_at = self._fresh.popleft()
            self._read[own.next_at] = worker
        return own.next_at

    def expected_s(self, worker: int) -> float | None:
        """Return how long the longest shard of a worker's unit should take.

        None where no speed has been measured, and while the weights are read, which may be a download.
        """
        own = self._workers.get(worker, WorkerState())
        if own.unit is None or not own.is_loaded:
            return None
        costs = self._checkpoints[own.unit.checkpoint].costs
        expected = (self._pace.seconds(costs[shard], worker) for shard in own.unit.shards)
        return max((seconds for seconds in expected if seconds is not None), default=None)

    # ---- what a caller tells --------------------------------------------------------------------------

    def opened(self, checkpoint: int, stored: Collection[int] = ()) -> None:
        """Note that a checkpoint's model is known, and which of its shards are stored already."""
        one = self._checkpoints[checkpoint]
        one.is_open = True
        if stored:
            self._set_pending(checkpoint, [shard for shard in one.pending if shard not in set(stored)])
        self._rest.changed(checkpoint)

    def loaded(self, worker: int, seconds: float) -> None:
        """Note that a worker has the weights in place, and how long that took."""
        own = self._workers[worker]
        own.is_loaded = True
        self._load_s.append(seconds)
        if own.unit is not None:
            self._strikes.passed(own.unit.checkpoint, None)

    def scored(self, worker: int, shard: int, seconds: float) -> None:
        """Note that a worker has scored a shard of its unit, and how long that took."""
        own = self._workers[worker]
        if own.unit is None:
            return
        cost = self._checkpoints[own.unit.checkpoint].costs[shard]
        self._pace.measured(cost, worker, seconds, is_first=own.n_scored == 0)
        self._strikes.passed(own.unit.checkpoint, shard)
        own.n_scored += 1
        own.scored.add(shard)

    def ended(self, worker: int) -> None:
        """Note that all of a worker's unit is stored."""
        self._take_unit(worker)

    def refused(self, worker: int) -> None:
        """Note that a worker's checkpoint cannot be used: nothing more of it is given out."""
        unit = self._take_unit(worker)
        if unit is not None:
            self._give_up(unit.checkpoint)

    def returned(self, worker: int, stored: Collection[int] = ()) -> None:
        """Take back what is not stored of a worker's unit, which nobody is to blame for."""
        unit = self._take_unit(worker)
        if unit is not None:
            self._return(unit.checkpoint, [shard for shard in unit.shards if shard not in stored])

    def lost(self, worker: int, stored: Collection[int] = (), *, cause: Cause = Cause.ITSELF) -> Loss:
        """Take back what is not stored of the unit of a worker that died.

        The shard that it was at gets a strike, and is then scored in a unit of its own. A worker that dies
        before its weights are in place strikes the loading of its checkpoint.
        """
        unit = self._take_unit(worker)
        own = self._workers.pop(worker)
        if own.next_at is not None:
            self._fresh.appendleft(own.next_at)
            del self._read[own.next_at]
        if unit is None:
            return Loss(None)
        missing = [shard for shard in unit.shards if shard not in stored]
        at = [shard for shard in missing if shard not in own.scored] or missing
        struck = at[0] if own.is_loaded and at else None
        has_failed = bool(missing) and self._strikes.add(unit.checkpoint, struck, cause)
        if has_failed and struck is None:
            self._give_up(unit.checkpoint)
        elif has_failed and struck is not None:
            self._checkpoints[unit.checkpoint].failed.add(struck)
            missing.remove(struck)
        self._return(unit.checkpoint, missing)
        return Loss(unit, struck, has_failed)

    # ---- inside ---------------------------------------------------------------------------------------

    def _choose(self, own: WorkerState) -> int | None:
        """Return the checkpoint to take a unit of."""
        if own.at is not None:
            at = self._checkpoints[own.at]
            if at.pending and at.may_be_joined:
                return own.at
        for checkpoint in self._untouched(own):
            one = self._checkpoints[checkpoint]
            if one.pending and not one.workers:
                return checkpoint
        return self._most_left()

    def _untouched(self, own: WorkerState) -> Iterator[int]:
        """Yield the checkpoints to begin with: what the worker has read, what nobody reads, then others'."""
        if own.next_at is not None:
            yield self._unread(own.next_at)
        while self._fresh:
            yield self._fresh.popleft()
        while self._read:
            yield self._unread(next(iter(self._read)))

    def _unread(self, checkpoint: int) -> int:
        self._workers[self._read.pop(checkpoint)].next_at = None
        return checkpoint

    def _most_left(self) -> int | None:
        """Return the checkpoint with most left, if helping there takes less time than loading its weights."""
        checkpoint = self._rest.top()
        return checkpoint if checkpoint is not None and self._pays(self._checkpoints[checkpoint]) else None

    def _pays(self, one: CheckpointWork) -> bool:
        """Return whether one more worker saves more time than it takes to load the weights."""
        if not one.workers or not self._load_s:
            return True
        rate = self._pace.seconds(ShardCost("", one.tokens))
        return rate is None or rate / (len(one.workers) + 1) > sum(self._load_s) / len(self._load_s)

    def _cut(self, checkpoint: int, worker: int) -> tuple[int, ...]:
        """Take the next shards of a checkpoint for a worker; one that a worker died on is taken alone."""
        one = self._checkpoints[checkpoint]
        limit_s = self._unit_s()
        taken: list[int] = []
        seconds, tokens = 0.0, 0
        while one.pending:
            shard = one.pending[0]
            cost = one.costs[shard]
            expected = self._pace.seconds(cost, worker)
            is_struck = self._strikes.has(checkpoint, shard)
            tokens += cost.tokens
            seconds += expected or 0.0
            is_too_much = tokens > self._first_tokens if expected is None else seconds > limit_s
            if taken and (is_too_much or is_struck):
                break
            taken.append(one.take())
            if is_struck:
                break
        self._rest.changed(checkpoint)
        return tuple(taken)

    def _unit_s(self) -> float:
        """Return the seconds of a unit: less when little is left for each worker."""
        left = (self._pace.seconds(ShardCost(kind, n)) for kind, n in self._left.tokens.items())
        left_s = sum(seconds for seconds in left if seconds is not None)
        return min(self._target_s, max(LEAST_S, left_s / (UNITS_LEFT_PER_WORKER * len(self._workers))))

    def _return(self, checkpoint: int, missing: Sequence[int]) -> None:
        """Put shards back: those that a worker died on to the end, the others to the front."""
        one = self._checkpoints[checkpoint]
        if one.is_refused:
            return
        struck = [shard for shard in missing if self._strikes.has(checkpoint, shard)]
        others = [shard for shard in missing if not self._strikes.has(checkpoint, shard)]
        self._set_pending(checkpoint, [*others, *one.pending, *struck])
        if not one.workers and one.pending and not one.is_open:
            self._fresh.appendleft(checkpoint)

    def _give_up(self, checkpoint: int) -> None:
        self._checkpoints[checkpoint].is_refused = True
        self._set_pending(checkpoint, [])

    def _set_pending(self, checkpoint: int, shards: Iterable[int]) -> None:
        self._checkpoints[checkpoint].set_pending(shards)
        self._rest.changed(checkpoint)

    def _take_unit(self, worker: int) -> Unit | None:
        own = self._workers.setdefault(worker, WorkerState())
        unit, own.unit = own.unit, None
        if unit is not None:
            self._checkpoints[unit.checkpoint].workers.discard(worker)
        return unit
