"""Metrics of scored checkpoints, computed by a thread while the next checkpoint is scored."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.run.checkpoint_metrics import ensure_metrics

if TYPE_CHECKING:
    from milepost.run.journal import Journal
    from milepost.run.planning import PlannedTasks
    from milepost.run.target import Target
    from milepost.store.leases import Leases

SWITCH_S = 0.0005
"""How long one thread keeps the interpreter from another that wants it, in place of Python's 0.005. The main
thread gives it away with every kernel that it launches, and would get it back after 0.005 s each time."""


@dataclass(frozen=True, slots=True)
class Computed:
    """What became of a checkpoint's metrics."""

    lacking: str | None
    """Which could not be computed and why; None if all were."""
    seconds: float


class MetricsWorker:
    """Computes metrics in the order asked for; use as a context manager.

    Where it ends by an exception, what is not begun is left to the next run, and what is under way goes on in
    the background until it is stored.
    """

    def __init__(self, journal: Journal, leases: Leases) -> None:
        self._journal = journal
        self._leases = leases
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="milepost-metrics")

    def __enter__(self) -> MetricsWorker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def compute(self, target: Target, questions: PlannedTasks, log_path: Path) -> Computing:
        """Begin with the metrics of a scored checkpoint.

        Args:
            log_path: the checkpoint's `evaluation.log`.
        """
        future = self._pool.submit(self._aside, target, questions, log_path)
        return Computing(future, lambda: self._compute(target, questions, log_path, aside=False))

    def _aside(self, target: Target, questions: PlannedTasks, log_path: Path) -> Computed | None:
        """None where the main thread has to do it."""
        with _short_turns():
            return self._compute(target, questions, log_path, aside=True)

    def _compute(
        self, target: Target, questions: PlannedTasks, log_path: Path, *, aside: bool
    ) -> Computed | None:
        with self._journal.evaluation_log(log_path, aside=aside) as log:
            start = time.monotonic()
            if aside and not target.has_metrics() and questions.need_main_thread():
                return None
            lacking = ensure_metrics(target, questions, self._leases)
            seconds = time.monotonic() - start
            log.info("metrics computed in %.1f s", seconds)
        return Computed(lacking, seconds)


@dataclass(frozen=True, slots=True)
class Computing:
    """The metrics of one checkpoint under way."""

    future: Future[Computed | None]
    in_main_thread: Callable[[], Computed | None]

    def result(self) -> Computed:
        """Wait for them; to be called in the main thread, since some tasks' own code runs in no other.

        Raises:
            ResultsError: a stored shard is damaged, or the disk is full.
        """
        computed = self.future.result() or self.in_main_thread()
        assert computed is not None
        return computed

    def is_ready(self) -> bool:
        return self.future.done()


@contextmanager
def _short_turns() -> Iterator[None]:
    """While it lasts threads take turns more often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(SWITCH_S, before))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
