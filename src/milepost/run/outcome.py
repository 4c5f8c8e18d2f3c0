"""What a run did, checkpoint by checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from milepost.store import ResultsFolder
from milepost.types import Checkpoint

if TYPE_CHECKING:
    from milepost.run.quick import FullJob


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
    without_metrics: list[Checkpoint] = field(default_factory=list)
    """Those of both whose metrics are left for later."""
    failed: list[Failure] = field(default_factory=list)
    scoring_s: dict[Checkpoint, float] = field(default_factory=dict)
    """Seconds spent on what grows with the number of docs: here on scores."""
    metrics_s: dict[Checkpoint, float] = field(default_factory=dict)
    """And on metrics, which are computed while the next checkpoint is scored."""
    full_job: FullJob | None = None
    """Of a quick test: what the whole would take."""
