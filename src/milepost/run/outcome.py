"""What a run did, checkpoint by checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field

from milepost.store import ResultsFolder
from milepost.types import Checkpoint


@dataclass(frozen=True, slots=True)
class Failure:
    """A checkpoint without figures, or without some of them, and why."""

    checkpoint: Checkpoint
    reason: str


@dataclass(slots=True)
class Outcome:
    """Filled while the run goes on; a checkpoint is in one of the three lists."""

    results: ResultsFolder
    scored: list[Checkpoint] = field(default_factory=list)
    reused: list[Checkpoint] = field(default_factory=list)
    """Complete before the run began, or the same weights as another checkpoint."""
    failed: list[Failure] = field(default_factory=list)
