"""The result of a run, checkpoint by checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from milepost.store import ResultsFolder
from milepost.types import Checkpoint

if TYPE_CHECKING:
    from milepost.run.quick import FullJob


@dataclass(frozen=True, slots=True)
class Failure:
    """A checkpoint without metrics, or without some of them, and why."""

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
    without_metrics: list[Checkpoint] = field(default_factory=list)
    """Scored or reused checkpoints whose metrics another run computes."""
    full_job: FullJob | None = None
    """Of a quick test: the estimated time of the full job."""
