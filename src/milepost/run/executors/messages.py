"""Everything that the driver of a run and its workers tell each other: plain values that pickle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from milepost.errors import MilepostError
from milepost.run.executors.schedule import Cause
from milepost.types.checkpoints import Checkpoint


@dataclass(frozen=True, slots=True)
class Order:
    """A unit to score."""

    checkpoint: Checkpoint
    dtype: str
    plan_id: str
    shards: tuple[int, ...]
    """Places in `target.plan_shards` of the plan."""
    model_id: str | None = None
    """The model that the checkpoint was at an earlier unit; None if it is not known."""
    upcoming: Order | None = None
    """What the worker will probably do next, so that it can read the weights meanwhile."""


@dataclass(frozen=True, slots=True)
class MetricsOrder:
    """A checkpoint whose scores are all stored, and whose metrics a worker with nothing to score computes."""

    checkpoint: Checkpoint
    dtype: str
    plan_id: str
    model_id: str


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker is ready for its first unit."""

    host: str
    pid: int
    cpu_s: float = 0.0
    """CPU seconds since it was started or forked."""
    versions: tuple[tuple[str, str], ...] = ()
    sees_results: bool = True
    """Whether it finds the probe file in the results folder."""


@dataclass(frozen=True, slots=True)
class Alive:
    """A sign of life, told every few seconds, also while a shard takes long."""

    cpu_s: float
    """CPU seconds of the worker so far."""


@dataclass(frozen=True, slots=True)
class Identified:
    """The checkpoint of the unit was read, and is this model."""

    model_id: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The weights are in place."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ShardScored:
    """A shard is scored, and its record written or about to be."""

    shard: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Records:
    """Files of the results folder, from a worker that does not see it."""

    files: tuple[tuple[str, bytes], ...]
    """Path in the folder, and content."""


@dataclass(frozen=True, slots=True)
class LogText:
    """Text for the end of a file in the results folder, from a worker that does not see it."""

    path: str
    text: bytes


@dataclass(frozen=True, slots=True)
class UnitStored:
    """Every shard of the unit is stored."""

    noted: dict[str, Any]
    """Fields of the checkpoint's record, such as the engine; empty if nothing was left to score."""


@dataclass(frozen=True, slots=True)
class MetricsStored:
    """The metrics of an order are in the results folder."""

    problem: str | None
    """The metrics that could not be computed, and why; None if all were."""
    seconds: float


@dataclass(frozen=True, slots=True)
class MetricsLeft:
    """The worker cannot compute the metrics of its order; the driver does it, and says what is wrong."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The unit was not scored: its checkpoint cannot be used, or the disk of the results folder is full."""

    error: MilepostError
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """The run cannot go on: an error of the user, or the traceback of a bug."""

    error: MilepostError | None
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A message for the person."""

    name: str
    level: int
    message: str
    """English, for logs."""
    shown: str
    """The message in the language of the worker, which is the driver's."""


@dataclass(frozen=True, slots=True)
class Died:
    """The worker is gone."""

    how: str
    """`process 4711 was killed by SIGKILL`"""
    cause: Cause = Cause.ITSELF


UnitEnd = UnitStored | Refused
MetricsEnd = MetricsStored | MetricsLeft
Event = (
    Joined
    | Alive
    | Identified
    | Loaded
    | ShardScored
    | Records
    | LogText
    | UnitEnd
    | MetricsEnd
    | Broken
    | Said
    | Died
)
