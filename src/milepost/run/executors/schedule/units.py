"""The parts of the work of a run: shards with their sizes, and units of them."""

from __future__ import annotations

from dataclasses import dataclass

TARGET_S = 180.0
"""Seconds of scoring in a unit: messages and a lost unit cost little beside it."""
LEAST_S = 2.0
"""Seconds below which a unit is not worth its messages."""
FIRST_TOKENS = 524_288
"""Tokens of the units before a speed is measured: two shards of the default size."""
UNITS_LEFT_PER_WORKER = 2
"""Units per worker, at least, into which the rest is cut, so that workers end at about the same time."""


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
