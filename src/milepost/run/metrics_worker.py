"""Compute the metrics of scored checkpoints in a thread while the next checkpoint is scored."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.run.checkpoint_metrics import MainThreadNeeded, ensure_metrics

if TYPE_CHECKING:
    from milepost.run.journal import Journal
    from milepost.run.planning import PlannedTasks
    from milepost.run.target import Target
    from milepost.store.leases import Leases

SWITCH_S = 0.0005
"""Time that one thread keeps the interpreter from another that wants it, in place of Python's 0.005. The main
thread gives it away with every kernel that it launches, and would get it back after 0.005 s each time."""


@dataclass(frozen=True, slots=True)
class ComputedMetrics:
    """A checkpoint's metrics, which are in the store now."""

    problem: str | None
    """The metrics that could not be computed, and why; None if all were."""
    seconds: float


class MetricsWorker:
    """Computes metrics in the order of the calls; use as a context manager.

    After an exception the next run computes what has not begun, and what is under way goes on in the
    background until it is stored.
    """

    def __init__(self, journal: Journal, leases: Leases) -> None:
        self._journal = journal
        self._leases = leases
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="milepost-metrics")

    def __enter__(self) -> MetricsWorker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def compute(self, target: Target, tasks: PlannedTasks, log_path: Path) -> PendingMetrics:
        """Begin with the metrics of a scored checkpoint.

        Args:
            log_path: the checkpoint's `evaluation.log`.
        """
        future = self._pool.submit(self._compute_in_thread, target, tasks, log_path)
        return PendingMetrics(future, lambda: self._compute(target, tasks, log_path, in_thread=False))

    def _compute_in_thread(
        self, target: Target, tasks: PlannedTasks, log_path: Path
    ) -> ComputedMetrics | None:
        """Compute the metrics; None where the main thread has to do it."""
        with _short_turns():
            return self._compute(target, tasks, log_path, in_thread=True)

    def _compute(
        self, target: Target, tasks: PlannedTasks, log_path: Path, *, in_thread: bool
    ) -> ComputedMetrics | None:
        with self._journal.evaluation_log(log_path, aside=in_thread) as log:
            start = time.monotonic()
            try:
                problem = ensure_metrics(target, tasks, self._leases, in_thread=in_thread)
            except MainThreadNeeded:
                return None
            seconds = time.monotonic() - start
            log.info("metrics computed in %.1f s", seconds)
        return ComputedMetrics(problem, seconds)


@dataclass(frozen=True, slots=True)
class PendingMetrics:
    """The metrics of one checkpoint under way."""

    future: Future[ComputedMetrics | None]
    in_main_thread: Callable[[], ComputedMetrics | None]

    def result(self) -> ComputedMetrics:
        """Wait for the metrics; call it in the main thread, since some tasks' own code runs in no other.

        Raises:
            ResultsError: a stored shard is damaged, or the disk is full.
        """
        computed = self.future.result() or self.in_main_thread()
        assert computed is not None, "the main thread computes every metric"
        return computed

    def is_ready(self) -> bool:
        return self.future.done()


@contextmanager
def _short_turns() -> Iterator[None]:
    """Let threads take turns more often while the block runs."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(SWITCH_S, before))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
