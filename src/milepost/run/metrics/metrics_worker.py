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

from milepost.run.metrics.checkpoint_metrics import MainThreadNeeded, ensure_metrics

if TYPE_CHECKING:
    from milepost.run.display.journal import Journal
    from milepost.run.plans.planning import PlannedTasks
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
        return PendingMetrics(
            lambda: self._pool.submit(self._compute_in_thread, target, tasks, log_path),
            lambda: self._compute(target, tasks, log_path, in_thread=False),
        )

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


class PendingMetrics:
    """The metrics of one checkpoint under way: in the thread, or lent to another process."""

    def __init__(
        self,
        begin: Callable[[], Future[ComputedMetrics | None]],
        in_main_thread: Callable[[], ComputedMetrics | None],
    ) -> None:
        self._begin = begin
        self._in_main_thread = in_main_thread
        self._future = begin()
        self._was_lent = False

    def result(self) -> ComputedMetrics:
        """Wait for the metrics; call it in the main thread, since some tasks' own code runs in no other.

        Raises:
            ResultsError: a stored shard is damaged, or the disk is full.
        """
        computed = self._future.result() or self._in_main_thread()
        assert computed is not None, "the main thread computes every metric"
        return computed

    @property
    def is_ready(self) -> bool:
        """Return whether `result` need not wait, though it may compute."""
        return self._future.done()

    @property
    def needs_main_thread(self) -> bool:
        """Return whether `result` computes them."""
        done = self._future.done() and not self._future.cancelled() and self._future.exception() is None
        return done and self._future.result() is None

    @property
    def may_be_lent(self) -> bool:
        """Return whether nobody has begun with them, and another process has not given them back."""
        has_begun = self._future.running() or (self._future.done() and not self.needs_main_thread)
        return not has_begun and not self._was_lent

    def lend(self) -> bool:
        """Leave them to another process; False where this one has begun."""
        if not self.may_be_lent or not (self.needs_main_thread or self._future.cancel()):
            return False
        self._was_lent = True
        self._future = Future()
        return True

    def give_back(self, computed: ComputedMetrics | None) -> None:
        """Take what the other process has computed, or begin here where it could not."""
        if computed is None:
            self._future = self._begin()
        else:
            self._future.set_result(computed)


@contextmanager
def _short_turns() -> Iterator[None]:
    """Let threads take turns more often while the block runs."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(SWITCH_S, before))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
