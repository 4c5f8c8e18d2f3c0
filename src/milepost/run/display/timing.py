"""Estimate how long a run takes: one clock, from which every estimate that is shown comes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from milepost.text.durations import time_left
from milepost.types.checkpoints import Checkpoint

LONG_S = 60.0
"""A shorter time left is not worth a line of its own."""
STEADY_WORK = 20_000
"""Work of a task after which its own speed counts as much as that of all tasks."""

Work = Mapping[str, int]
"""Work by task, in the unit of `plan.plan.TaskPlan.work_of`: a token that a forward pass computes."""


@dataclass(frozen=True, slots=True)
class LongRunPolicy:
    """The caller's wishes for long runs."""

    ask: bool = False
    """True to ask a person at the terminal before the run begins."""
    models_after: int = 0
    """Further models that the caller will score on the same tasks; the estimate counts their time too."""


@dataclass(slots=True)
class Lap:
    """Time that one checkpoint took, in seconds."""

    seconds: float = 0.0
    """From its turn until it has all scores."""
    scoring_s: float = 0.0
    """The part of it that grows with the number of docs."""
    metrics_s: float = 0.0
    """Computing metrics, beside the scoring of the next checkpoint."""
    work: int = 0
    """Work that this run did for it."""
    is_over: bool = False

    @property
    def fixed_s(self) -> float:
        """Return the part that does not grow with the number of docs: waiting for weights, loading them."""
        return max(0.0, self.seconds - self.scoring_s)


@dataclass(slots=True)
class _Turn:
    """A checkpoint that is being scored."""

    began: float
    left: dict[str, int]
    """Work that is not done yet, by task."""


@dataclass(slots=True)
class _Pace:
    """Measured speed of one task."""

    seconds: float = 0.0
    work: int = 0


@dataclass(slots=True)
class Speeds:
    """Seconds per work of each task, measured as far as known.

    Tasks differ, as prompts are long or short and texts are scored or generated: a task that was not measured
    yet is taken to be as fast as the others, in the ratios of the first docs where these were timed.
    """

    expected: Mapping[str, float] = field(default_factory=dict)
    """By the first docs."""
    _paces: dict[str, _Pace] = field(default_factory=dict)

    def add(self, task: str, seconds: float, work: int) -> None:
        """Count a shard of a task."""
        pace = self._paces.setdefault(task, _Pace())
        pace.seconds += seconds
        pace.work += work

    @property
    def is_measured(self) -> bool:
        return any(pace.work for pace in self._paces.values())

    @property
    def is_known(self) -> bool:
        return self.is_measured or bool(self.expected)

    def seconds(self, work: Work) -> float:
        """Return the estimated time of some work."""
        scale = self._scale()
        return sum(self._rate(task, scale) * amount for task, amount in work.items())

    def _scale(self) -> float:
        """Return how many times slower the measured shards were than expected."""
        expected = sum(self._expected(task) * pace.work for task, pace in self._paces.items())
        return sum(pace.seconds for pace in self._paces.values()) / expected if expected else 1.0

    def _rate(self, task: str, scale: float) -> float:
        pace = self._paces.get(task, _Pace())
        guessed = self._expected(task) * scale
        return (pace.seconds + guessed * STEADY_WORK) / (pace.work + STEADY_WORK)

    def _expected(self, task: str) -> float:
        mean = statistics.fmean(self.expected.values()) if self.expected else 1.0
        return self.expected.get(task, mean)


class Clock:
    """Measures the speed of a run and estimates the time left; every estimate that is shown comes from it.

    Several workers may score several checkpoints at a time; then each says how long its shard took, and the
    shard counts with its part of that time.
    """

    def __init__(self, work: Mapping[Checkpoint, Work], later: Work | None = None) -> None:
        """Make a clock.

        Args:
            work: what each checkpoint has left.
            later: what the caller does after this run, with other models of the same size.
        """
        self.work_left = sum(sum(of_task.values()) for of_task in work.values())
        self.laps: dict[Checkpoint, Lap] = {}
        self.speeds = Speeds()
        self.read_s = 0.0
        """Seconds to read, or download, the weights of one checkpoint; beside the scoring of another."""
        self.skips_first = False
        """True if the first shard takes longer than others, as on a GPU that compiles: it is not measured."""
        self.has_announced = False
        """True if the time of the whole run was shown."""
        self._waiting = dict(work)
        self._turns: dict[Checkpoint, _Turn] = {}
        self._later = dict(later or {})
        self._last = 0.0
        """Time of the last shard, or of the beginning of work."""

    @property
    def all_work(self) -> int:
        """Return the work that is left, also that after this run."""
        return self.work_left + sum(self._later.values())

    def lap(self, checkpoint: Checkpoint) -> Lap:
        """Return the times of a checkpoint."""
        return self.laps.setdefault(checkpoint, Lap())

    def start(self, checkpoint: Checkpoint) -> int:
        """Begin with a checkpoint; returns the work that it has left."""
        now = time.monotonic()
        if not self._turns:
            self._last = now
        self._turns[checkpoint] = _Turn(now, dict(self._waiting.pop(checkpoint, {})))
        self.lap(checkpoint)
        return sum(self._turns[checkpoint].left.values())

    def begin_scoring(self) -> None:
        """Begin to measure speed: the weights are in place."""
        self._last = time.monotonic()

    def is_at(self, checkpoint: Checkpoint) -> bool:
        """Return whether a checkpoint was started and is not left yet."""
        return checkpoint in self._turns

    def advance(self, checkpoint: Checkpoint, task: str, work: int, seconds: float | None = None) -> None:
        """Count a shard that is scored.

        Args:
            seconds: that it took; None for the time since the shard before it.
        """
        now = time.monotonic()
        left = self._turns[checkpoint].left
        left[task] = left.get(task, 0) - work
        self.work_left -= work
        self.laps[checkpoint].work += work
        if self.skips_first:
            self.skips_first = False
        else:
            self.speeds.add(task, now - self._last if seconds is None else seconds, work)
        self._last = now

    def leave(self, checkpoint: Checkpoint) -> int:
        """End with a checkpoint; returns the part of its work that this run did not do."""
        turn = self._turns.pop(checkpoint, None)
        if turn is None:
            return 0
        lap = self.laps[checkpoint]
        lap.seconds, lap.is_over = time.monotonic() - turn.began, True
        rest = sum(turn.left.values())
        self.work_left -= rest
        return rest

    @property
    def left_s(self) -> float | None:
        """Seconds left; None while nothing is known of the speed."""
        if not self.speeds.is_known:
            return None
        now_s = sum(self.speeds.seconds(turn.left) for turn in self._turns.values())
        if self._turns:
            now_s = max(0.0, now_s - (time.monotonic() - self._last))
        fixed_s, metrics_s = self._fixed_s(), self._metrics_s()
        turns = [
            max(self.speeds.seconds(work) + fixed_s, self.read_s, metrics_s)
            for work in self._waiting.values()
            if work
        ]
        return now_s + sum(turns) + metrics_s + self.speeds.seconds(self._later)

    def _fixed_s(self) -> float:
        """Return the fixed time of a further checkpoint; much of the first one's comes only once."""
        laps = [lap.fixed_s for lap in list(self.laps.values())[1:] if lap.is_over and lap.work]
        return statistics.median(laps) if laps else 0.0

    def _metrics_s(self) -> float:
        known = [lap.metrics_s for lap in self.laps.values() if lap.metrics_s]
        return statistics.median(known) if known else 0.0

    def announcement(self) -> str | None:
        """Return the line that says once, when the speed is measured, that a run takes long; else None."""
        left_s = self.left_s
        if self.has_announced or not self.speeds.is_measured or left_s is None:
            return None
        self.has_announced = True
        return time_left(left_s) if left_s >= LONG_S else None
