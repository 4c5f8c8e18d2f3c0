"""Estimate how long a run takes: one clock, and one sentence that says the time left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from milepost.types import Checkpoint

LONG_S = 60.0
"""A shorter time left is not worth a line of its own."""
MEASURED_S = 5.0
"""Seconds of work before a measured speed replaces the estimate from the first docs."""


@dataclass(frozen=True, slots=True)
class LongRunPolicy:
    """The caller's wishes for long runs."""

    ask: bool = False
    """Whether to ask a person at the terminal before the run begins."""
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
    n_tokens: int = 0
    """Tokens that this process scored."""


@dataclass(slots=True)
class _Turn:
    """A checkpoint that is being scored."""

    began: float
    n_left: int
    """Tokens that are not scored yet."""


class Clock:
    """Measures the speed of a run and estimates the time left; every estimate that is shown comes from it.

    The unit of work is a token before sharing. Several workers may score several checkpoints at a time.
    """

    def __init__(self, n_tokens: Mapping[Checkpoint, int]) -> None:
        """Make a clock for checkpoints with so many tokens to score each."""
        self.tokens_left = sum(n_tokens.values())
        self.laps: dict[Checkpoint, Lap] = {}
        self._n_tokens = n_tokens
        self._turns: dict[Checkpoint, _Turn] = {}
        self.skips_first = False
        """Whether the first shard takes longer than others, as on a GPU that compiles: it is not measured."""
        self._began = self._last = 0.0
        self._measured = 0
        self._s_per_token: float | None = None
        """Before the speed is measured: estimated from the first docs."""
        self.has_announced = False
        """Whether the time of the whole run was shown."""

    def lap(self, checkpoint: Checkpoint) -> Lap:
        """Return the times of a checkpoint."""
        return self.laps.setdefault(checkpoint, Lap())

    def start(self, checkpoint: Checkpoint) -> int:
        """Begin with a checkpoint; returns the tokens that it has left."""
        now = time.monotonic()
        if not self._measured and not self._turns:
            self._began = now
        self._turns[checkpoint] = _Turn(now, self._n_tokens[checkpoint])
        self.lap(checkpoint)
        return self._n_tokens[checkpoint]

    def is_at(self, checkpoint: Checkpoint) -> bool:
        """Return whether a checkpoint was started and is not left yet."""
        return checkpoint in self._turns

    def advance(self, checkpoint: Checkpoint, n_tokens: int) -> None:
        """Count the tokens of a shard that is scored."""
        self._last = time.monotonic()
        self._turns[checkpoint].n_left -= n_tokens
        self.tokens_left -= n_tokens
        self.laps[checkpoint].n_tokens += n_tokens
        if self.skips_first:
            self.skips_first, self._began = False, self._last
        else:
            self._measured += n_tokens

    def leave(self, checkpoint: Checkpoint) -> int:
        """End with a checkpoint; returns those of its tokens that this run did not score."""
        turn = self._turns.pop(checkpoint, None)
        if turn is None:
            return 0
        self.laps[checkpoint].seconds = time.monotonic() - turn.began
        self.tokens_left -= turn.n_left
        return turn.n_left

    def expect(self, s_per_token: float) -> None:
        """Estimate by this speed until one is measured."""
        self._s_per_token = s_per_token

    @property
    def left_s(self) -> float | None:
        """Seconds left; None while nothing is known of the speed."""
        elapsed = self._last - self._began
        if self._measured and (elapsed >= MEASURED_S or self._s_per_token is None):
            since = time.monotonic() - self._last
            return max(0.0, elapsed / self._measured * self.tokens_left - since)
        return None if self._s_per_token is None else self._s_per_token * self.tokens_left

    def announcement(self) -> str | None:
        """Return the line that says once, as soon as the speed is known, that a run takes long; else None."""
        elapsed = self._last - self._began
        if self.has_announced or not self._measured or elapsed < MEASURED_S:
            return None
        self.has_announced = True
        left_s = elapsed / self._measured * self.tokens_left
        return time_left(left_s, f"{self._measured / elapsed:,.0f} tokens/s") if left_s >= LONG_S else None


def time_left(seconds: float, basis: str = "") -> str:
    """Return `about 12 min left`, and in parentheses what the estimate rests on."""
    return f"about {format_duration(seconds)} left" + (f" ({basis})" if basis else "")


def format_duration(seconds: float) -> str:
    """Return `8.1 s`, `42 s`, `12 min` or `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
