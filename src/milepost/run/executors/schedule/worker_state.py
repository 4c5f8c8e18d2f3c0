"""Keep the state of a worker, as the schedule sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from milepost.run.executors.schedule.units import Unit


@dataclass(slots=True)
class WorkerState:
    """The state of a worker."""

    at: int | None = None
    """The checkpoint whose weights it has."""
    unit: Unit | None = None
    is_loaded: bool = False
    n_scored: int = 0
    scored: set[int] = field(default_factory=set)
    """Shards of its unit that it has scored; the last of them may not be stored yet."""
    next_at: int | None = None
    """The checkpoint that it reads meanwhile."""
