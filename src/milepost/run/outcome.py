"""The result of a run, checkpoint by checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field

from milepost.store import ResultsFolder
from milepost.types.checkpoints import Checkpoint


@dataclass(frozen=True, slots=True)
class Failure:
    """A checkpoint without metrics, or without some of them, and why."""

    checkpoint: Checkpoint
    reason: str


@dataclass(frozen=True, slots=True)
class FullJob:
    """The estimate for the full job."""

    n_checkpoints: int
    n_docs: int
    """Docs of each checkpoint, over all tasks."""
    seconds: float
    tokens_per_s: float
    command: str
    """The command line of the full job."""


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
    """Estimated time of the full job, after a quick test."""
