"""Cut the work of a run into units and decide which worker gets which; pure, without files and clocks.

A unit is some shards of one checkpoint. A worker stays at its checkpoint, so that it loads weights once.
Units take minutes by the speed that was measured, and get smaller towards the end. When no checkpoint is left
to begin with, workers help those that have most left. Time enters only as the seconds that callers report, so
that a simulation can use the same code.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

TARGET_S = 180.0
"""Seconds of scoring in a unit: messages and a lost unit cost little beside it."""
LEAST_S = 2.0
"""Seconds below which a unit is not worth its messages."""
FIRST_TOKENS = 524_288
"""Tokens of the units before a speed is measured: two shards of the default size."""
UNITS_LEFT_PER_WORKER = 2
"""What is left makes at least so many units per worker, so that workers end at about the same time."""
STRIKES = 3
"""Workers that die on a shard before it counts as failed."""
KILLS_PER_STRIKE = 3
"""Workers killed from outside that count as one such death: hardly ever is the shard to blame."""


@dataclass(frozen=True, slots=True)
class ShardCost:
    """The size of a shard."""

    kind: str
    """Shards of a kind, such as those of a task, take the same time per token."""
    tokens: int
    """Tokens that forward passes compute, see `TaskPlan.work_of`."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Some shards of a checkpoint, for one worker."""

    checkpoint: int
    """Number of the checkpoint in the order of the run."""
    shards: tuple[int, ...]
    """Places of the shards in the checkpoint's plan."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The consequence of a worker's death."""

    unit: Unit | None
    """The unit it had; None if it had none."""
    struck: int | None = None
    """The shard that it died on; None if it died before it scored one."""
    has_failed: bool = False
    """Whether the shard, or without one the checkpoint, is given up."""


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


@dataclass(slots=True)
class _Checkpoint:
    """The state of a checkpoint."""

    costs: Sequence[ShardCost]
    is_open: bool
    """Whether the model is known, so that several workers may score it."""
    pending: deque[int] = field(default_factory=deque)
    tokens: int = 0
    """Of what is pending."""
    workers: set[int] = field(default_factory=set)
    """Those that have a unit of it."""
    strikes: Counter[int] = field(default_factory=Counter)
    """By shard; KILLS_PER_STRIKE for each strike."""
    load_strikes: int = 0
    failed: set[int] = field(default_factory=set)
    is_refused: bool = False

    @property
    def is_finished(self) -> bool:
        return self.is_refused or not (self.pending or self.workers)


@dataclass(slots=True)
class _Worker:
    """The state of a worker."""

    at: int | None = None
    """The checkpoint whose weights it has."""
    unit: Unit | None = None
    is_loaded: bool = False
    n_scored: int = 0
    next_at: int | None = None
    """The checkpoint that it reads meanwhile."""


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
        self._checkpoints: dict[int, _Checkpoint] = {}
        self._workers: dict[int, _Worker] = {}
        self._fresh: deque[int] = deque()
        """Checkpoints that no worker has been at, nor reads."""
        self._read: dict[int, int] = {}
        """Checkpoints that no worker has been at to the worker that reads them."""
        self._by_rest: list[tuple[int, int]] = []
        """Heap of (minus pending tokens, checkpoint) of open checkpoints; an entry may be out of date."""
        self._left: Counter[str] = Counter()
        """Pending tokens of all checkpoints, by kind."""
        self.pace = Pace()
        self._load_s: list[float] = []

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
        self._checkpoints[checkpoint] = _Checkpoint(costs, opened)
        self._set_pending(checkpoint, missing)
        self._fresh.append(checkpoint)

    # ---- what a caller asks ---------------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Return whether nothing is pending and no worker has a unit."""
        return not any(self._left.values()) and all(one.is_finished for one in self._checkpoints.values())

    def is_finished(self, checkpoint: int) -> bool:
        """Return whether nothing of a checkpoint is left to do."""
        return self._checkpoints[checkpoint].is_finished

    def failed(self, checkpoint: int) -> list[int]:
        """Return the shards of a checkpoint that are given up."""
        return sorted(self._checkpoints[checkpoint].failed)

    def next_unit(self, worker: int) -> Unit | None:
        """Return what a worker without a unit does next; None if there is nothing for it now.

        It may be asked again after the next event.
        """
        own = self._workers.setdefault(worker, _Worker())
        assert own.unit is None, "the worker has a unit"
        chosen = self._choose(own)
        if chosen is None:
            return None
        if chosen != own.at:
            own.at, own.is_loaded = chosen, False
        own.unit = Unit(chosen, self._cut(chosen, worker))
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

    # ---- what a caller tells --------------------------------------------------------------------------

    def opened(self, checkpoint: int, stored: Collection[int] = ()) -> None:
        """Note that a checkpoint's model is known, and which of its shards are stored already."""
        one = self._checkpoints[checkpoint]
        one.is_open = True
        if stored:
            self._set_pending(checkpoint, [shard for shard in one.pending if shard not in set(stored)])
        self._offer_help(checkpoint)

    def loaded(self, worker: int, seconds: float) -> None:
        """Note that a worker has the weights in place, and how long that took."""
        own = self._workers[worker]
        own.is_loaded = True
        self._load_s.append(seconds)
        if own.unit is not None:
            self._checkpoints[own.unit.checkpoint].load_strikes = 0

    def scored(self, worker: int, shard: int, seconds: float) -> None:
        """Note that a worker has scored a shard of its unit, and how long that took."""
        own = self._workers[worker]
        if own.unit is None:
            return
        cost = self._checkpoints[own.unit.checkpoint].costs[shard]
        self.pace.measured(cost, worker, seconds, is_first=own.n_scored == 0)
        own.n_scored += 1

    def ended(self, worker: int) -> None:
        """Note that all of a worker's unit is stored."""
        self._take_unit(worker)

    def refused(self, worker: int) -> None:
        """Note that a worker's checkpoint cannot be used: nothing more of it is given out."""
        unit = self._take_unit(worker)
        if unit is not None:
            self._checkpoints[unit.checkpoint].is_refused = True
            self._set_pending(unit.checkpoint, [])

    def returned(self, worker: int, stored: Collection[int] = ()) -> None:
        """Take back what is not stored of a worker's unit, which nobody is to blame for."""
        unit = self._take_unit(worker)
        if unit is not None:
            self._return(unit, stored)

    def lost(self, worker: int, stored: Collection[int] = (), *, from_outside: bool = False) -> Loss:
        """Take back what is not stored of the unit of a worker that died.

        The first shard that is missing gets a strike, and is then scored in a unit of its own. A worker that
        dies before its weights are in place strikes the checkpoint, unless it was killed from outside.

        Args:
            from_outside: whether it was killed from outside, or its machine is gone.
        """
        own = self._workers.pop(worker, _Worker())
        if own.next_at is not None:
            self._fresh.appendleft(own.next_at)
            del self._read[own.next_at]
        if own.unit is None:
            return Loss(None)
        one = self._checkpoints[own.unit.checkpoint]
        one.workers.discard(worker)
        missing = [shard for shard in own.unit.shards if shard not in stored]
        struck = missing[0] if own.is_loaded and missing else None
        weight, limit = 1 if from_outside else KILLS_PER_STRIKE, STRIKES * KILLS_PER_STRIKE
        has_failed = False
        if struck is not None:
            one.strikes[struck] += weight
            if has_failed := one.strikes[struck] >= limit:
                one.failed.add(struck)
                missing = missing[1:]
        elif missing:
            one.load_strikes += 0 if from_outside else 1
            has_failed = one.load_strikes >= STRIKES
        if struck is None and has_failed:
            one.is_refused = True
            self._set_pending(own.unit.checkpoint, [])
        else:
            self._return(Unit(own.unit.checkpoint, tuple(missing)), ())
        return Loss(own.unit, struck, has_failed)

    # ---- inside ---------------------------------------------------------------------------------------

    def _choose(self, own: _Worker) -> int | None:
        """Return the checkpoint to take a unit of."""
        if own.at is not None and self._checkpoints[own.at].pending and self._may_join(own.at):
            return own.at
        for checkpoint in self._untouched(own):
            one = self._checkpoints[checkpoint]
            if one.pending and not one.workers:
                return checkpoint
        return self._most_left()

    def _untouched(self, own: _Worker) -> Iterator[int]:
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
        while self._by_rest:
            rest, checkpoint = self._by_rest[0]
            one = self._checkpoints[checkpoint]
            if one.pending and -rest == one.tokens:
                return checkpoint if self._pays(one) else None
            heapq.heappop(self._by_rest)  # out of date: every change has added an entry of its own
        return None

    def _may_join(self, checkpoint: int) -> bool:
        one = self._checkpoints[checkpoint]
        return one.is_open or not one.workers

    def _pays(self, one: _Checkpoint) -> bool:
        """Return whether one more worker saves more time than it takes to load the weights."""
        if not one.workers or not self._load_s:
            return True
        rate = self.pace.seconds(ShardCost("", one.tokens))
        return rate is None or rate / (len(one.workers) + 1) > sum(self._load_s) / len(self._load_s)

    def _cut(self, checkpoint: int, worker: int) -> tuple[int, ...]:
        """Take the next shards of a checkpoint for a worker; one that a worker died on is taken alone."""
        one = self._checkpoints[checkpoint]
        left = [self.pace.seconds(ShardCost(kind, tokens)) for kind, tokens in self._left.items()]
        left_s = sum(seconds for seconds in left if seconds is not None)
        share_s = left_s / (UNITS_LEFT_PER_WORKER * len(self._workers))
        limit_s = min(self._target_s, max(LEAST_S, share_s))
        taken: list[int] = []
        seconds, tokens = 0.0, 0
        while one.pending:
            shard = one.pending[0]
            cost = one.costs[shard]
            expected = self.pace.seconds(cost, worker)
            is_struck = one.strikes[shard] > 0
            tokens += cost.tokens
            seconds += expected or 0.0
            is_too_much = tokens > self._first_tokens if expected is None else seconds > limit_s
            if taken and (is_too_much or is_struck):
                break
            taken.append(one.pending.popleft())
            one.tokens -= cost.tokens
            self._left[cost.kind] -= cost.tokens
            if is_struck:
                break
        self._offer_help(checkpoint)
        return tuple(taken)

    def _return(self, unit: Unit, stored: Collection[int]) -> None:
        """Put shards back: those that a worker died on to the end, the others to the front."""
        one = self._checkpoints[unit.checkpoint]
        if one.is_refused:
            return
        missing = [shard for shard in unit.shards if shard not in stored]
        struck = [shard for shard in missing if one.strikes[shard]]
        others = [shard for shard in missing if not one.strikes[shard]]
        self._set_pending(unit.checkpoint, [*others, *one.pending, *struck])
        if not one.workers and one.pending and not one.is_open:
            self._fresh.appendleft(unit.checkpoint)

    def _set_pending(self, checkpoint: int, shards: Iterable[int]) -> None:
        one = self._checkpoints[checkpoint]
        for shard in one.pending:
            self._left[one.costs[shard].kind] -= one.costs[shard].tokens
        one.pending = deque(shards)
        for shard in one.pending:
            self._left[one.costs[shard].kind] += one.costs[shard].tokens
        one.tokens = sum(one.costs[shard].tokens for shard in one.pending)
        self._offer_help(checkpoint)

    def _offer_help(self, checkpoint: int) -> None:
        one = self._checkpoints[checkpoint]
        if one.pending and one.is_open:
            heapq.heappush(self._by_rest, (-one.tokens, checkpoint))

    def _take_unit(self, worker: int) -> Unit | None:
        own = self._workers[worker]
        unit, own.unit = own.unit, None
        if unit is not None:
            self._checkpoints[unit.checkpoint].workers.discard(worker)
        return unit
