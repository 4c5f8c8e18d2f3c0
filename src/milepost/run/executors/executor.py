"""The interfaces of executors, which do the jobs of a run somewhere, and of pools of workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from milepost.run.context import RunContext
from milepost.run.executors.messages import Event, Order
from milepost.run.jobs import CheckpointJob
from milepost.run.progress import Progress
from milepost.store.leases import Leases
from milepost.store.workers import Worker


class Executor(Protocol):
    """Does the jobs of a run somewhere.

    Jobs are idempotent: a record that exists is not computed again, so that a run which was killed goes on,
    with any executor.
    """

    def run(
        self,
        jobs: Sequence[CheckpointJob],
        context: RunContext,
        worker: Worker,
        leases: Leases,
        progress: Progress,
    ) -> None:
        """Do every job; what becomes of each is in the outcome of `context`.

        Raises:
            MilepostError: the executor cannot be used, or the results folder not be written.
        """
        ...


class WorkerPool(Protocol):
    """Workers on one machine or many; use as a context manager, which starts and ends them.

    If the block ends with an exception, the workers are ended at once, in the middle of their work.
    """

    def __enter__(self) -> WorkerPool: ...

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None: ...

    def give(self, worker: int, order: Order) -> None:
        """Let a worker that has joined and has nothing to do score a unit."""
        ...

    def events(self, timeout_s: float) -> Sequence[tuple[int, Event]]:
        """Return what workers tell, each with the worker's number, after waiting for at most so long."""
        ...

    def replace(self, worker: int, halvings: int) -> None:
        """Start another worker in the place of one that died; it joins later, under the same number.

        Args:
            halvings: how often it halves the tokens of a forward pass.
        """
        ...

    def describe(self, worker: int) -> str:
        """Return `worker 2 (process 4711)`, for messages."""
        ...
