"""The interfaces of executors, which do the jobs of a run somewhere, and of pools of workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from milepost.run.context import RunContext
from milepost.run.display.progress import Progress
from milepost.run.executors.messages import Event, MetricsOrder, Order
from milepost.run.scoring.jobs import CheckpointJob
from milepost.store.leases import Leases
from milepost.store.workers import Worker


@dataclass(frozen=True, slots=True)
class Work:
    """The jobs of a run, and what belongs to the process that leads it.

    Jobs are idempotent: a record that exists is not computed again, so that a run which was killed goes on,
    with any executor.
    """

    jobs: Sequence[CheckpointJob]
    context: RunContext
    """Its `outcome` is told what becomes of each job."""
    worker: Worker
    """The record of this process in the results folder."""
    leases: Leases
    progress: Progress


class Executor(Protocol):
    """Does the jobs of a run somewhere."""

    def run(self, work: Work) -> None:
        """Do every job.

        Raises:
            MilepostError: the executor cannot be used, or the results folder not be written.
        """
        ...


class WorkerPool(Protocol):
    """Workers on one machine or many; use as a context manager, which ends them.

    If the block ends with an exception, the workers are ended at once, in the middle of their work.
    """

    n_workers: int
    computes_metrics: bool
    """Whether its workers take a `MetricsOrder`, as tasks and data are on their machines too."""

    def __enter__(self) -> WorkerPool: ...

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None: ...

    def start(self, worker: int, halvings: int) -> None:
        """Start the worker of that number, the first or in the place of one that died; it joins later.

        Args:
            halvings: how often it halves the tokens of a forward pass.
        """
        ...

    def give(self, worker: int, order: Order | MetricsOrder) -> None:
        """Let a worker that has joined and has nothing to do score a unit, or compute metrics."""
        ...

    def events(self, timeout_s: float) -> Sequence[tuple[int, Event]]:
        """Return what workers tell, each with the worker's number, after waiting for at most so long."""
        ...

    def kill(self, worker: int, why: str) -> None:
        """Kill a worker that hangs; its death, with the reason, is among the next events."""
        ...

    def describe(self, worker: int) -> str:
        """Return `worker 2 (node-7)`, for messages."""
        ...
