"""Finish with checkpoints that have their scores: metrics, callback, outcome, a line for the person."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from milepost.errors import MilepostError, ResultsError, StorageError
from milepost.run.context import RunContext
from milepost.run.display.progress import Progress
from milepost.run.metrics.metrics_worker import MetricsWorker, PendingMetrics
from milepost.run.outcome import Failure
from milepost.run.records import note_failure
from milepost.run.scoring.jobs import CheckpointJob, JobState
from milepost.store.leases import Leases
from milepost.text.language import Phrase
from milepost.types.checkpoints import Checkpoint

WORTH_S = 30.0
"""Seconds of metrics that wait before another process helps: it has to load tasks and data, up to 20 s."""

logger = logging.getLogger("milepost.run")


@dataclass(frozen=True, slots=True)
class _Scored:
    """A checkpoint that has its scores, or will have none, and how to finish with it."""

    checkpoint: Checkpoint
    finish: Callable[[], str]
    """Count it in the outcome, call the callback, and return the result in a few words."""
    job: CheckpointJob | None = None
    pending: PendingMetrics | None = None
    """Its metrics, where this run computes them."""
    add_again: Callable[[], None] | None = None
    """Compute its metrics once more, after they could not be stored."""


class Finisher:
    """Finishes with checkpoints in the order in which they were added; use as a context manager.

    Metrics of one checkpoint are computed in a thread while the next is scored; results are shown in order,
    from the thread that calls. Where that thread falls behind, others may `borrow`.
    """

    def __init__(self, context: RunContext, leases: Leases, progress: Progress) -> None:
        self._context = context
        self._progress = progress
        self._outcome = context.outcome
        self._metrics = MetricsWorker(context.journal, leases)
        self._unfinished: deque[_Scored] = deque()
        self._least_s = 0.0
        """The shortest time that the metrics of a checkpoint took; the first time includes loading tasks."""

    def __enter__(self) -> Finisher:
        self._metrics.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.finish_ready(wait=True)
        self._metrics.__exit__(kind, *rest)

    def add_scored(self, job: CheckpointJob, n_shards: int, log_path: Path) -> None:
        """Add a checkpoint that has all its scores, and begin with its metrics where they are missing.

        Args:
            n_shards: shards that this run scored.
            log_path: the checkpoint's `evaluation.log`.
        """
        checkpoint = job.checkpoint
        if job.state is JobState.DONE and job.metrics is not None:
            problem = job.metrics.problem
            self._add(checkpoint, lambda: self._finish(job, problem, n_shards))
        elif self._context.config.leaves_metrics:
            self._add(checkpoint, lambda: self._leave_metrics(checkpoint, n_shards))
        else:
            self._progress.leave(checkpoint)
            self._compute(job, n_shards, log_path)
            self.finish_ready()

    def add_refused(self, checkpoint: Checkpoint, error: MilepostError) -> None:
        """Add a checkpoint that cannot be used."""
        self._add(checkpoint, lambda: self._refuse(checkpoint, error))

    def finish_ready(self, *, wait: bool = False) -> None:
        """Finish with the checkpoints whose metrics are stored, in order; with all of them if `wait`.

        Raises:
            StorageError: the results folder cannot be written; a later call tries again.
        """
        while self._unfinished:
            scored = self._unfinished[0]
            is_ready = scored.pending is None or scored.pending.is_ready
            if not is_ready and not wait:
                return
            is_slow = scored.pending is not None and scored.pending.needs_main_thread
            try:
                result = scored.finish()
            except StorageError:
                if scored.add_again is not None:
                    self._unfinished.popleft()
                    scored.add_again()
                raise
            self._unfinished.popleft()
            self._progress.finish(scored.checkpoint, result)
            if is_slow and not wait:
                return  # the caller has other things to do as well, such as to lead workers

    @property
    def is_behind(self) -> bool:
        """Return whether the metrics that nobody has begun with take so long that help pays."""
        waiting = sum(one.pending is not None and one.pending.may_be_lent for one in self._unfinished)
        return waiting > 0 and waiting * self._least_s > WORTH_S

    def borrow(self) -> tuple[CheckpointJob, PendingMetrics] | None:
        """Return the last metrics that nobody has begun with, for another process; None if not `is_behind`.

        The caller gives them back (`PendingMetrics.give_back`) before `finish_ready` waits for all.
        """
        if self.is_behind:
            for one in reversed(self._unfinished):
                if one.job is not None and one.pending is not None and one.pending.lend():
                    return one.job, one.pending
        return None

    def _add(self, checkpoint: Checkpoint, finish: Callable[[], str]) -> None:
        self._progress.leave(checkpoint)
        self._unfinished.append(_Scored(checkpoint, finish))
        self.finish_ready()

    def _compute(self, job: CheckpointJob, n_shards: int, log_path: Path) -> None:
        """Begin with the metrics of a checkpoint, and put it at the end of the queue."""
        tasks = self._context.preparation.tasks_of(job.checkpoint)
        pending = self._metrics.compute(job.target, tasks, log_path)
        scored = _Scored(
            job.checkpoint,
            lambda: self._finish_computed(job, pending, n_shards),
            job,
            pending,
            lambda: self._compute(job, n_shards, log_path),
        )
        self._unfinished.append(scored)

    def _finish_computed(self, job: CheckpointJob, pending: PendingMetrics, n_shards: int) -> str:
        """Finish with a checkpoint whose metrics were computed by this run."""
        try:
            computed = pending.result()
        except StorageError:
            raise  # nothing more can be stored, of no checkpoint
        except ResultsError as error:
            return self._refuse(job.checkpoint, error)
        except Exception:
            logger.error("metrics of %s %s:", job.checkpoint.series, job.checkpoint.name)
            raise
        self._context.clock.lap(job.checkpoint).metrics_s = computed.seconds
        self._least_s = min(self._least_s or computed.seconds, computed.seconds)
        return self._finish(job, computed.problem, n_shards)

    def _finish(self, job: CheckpointJob, problem: str | None, n_shards: int) -> str:
        """Count a checkpoint whose metrics are stored, and call the callback."""
        self._context.callback.metrics_stored(job.plan.plan_id, job.checkpoint)
        if problem:
            self._fail(job.checkpoint, problem)
            return problem
        return self._count(job.checkpoint, n_shards)

    def _leave_metrics(self, checkpoint: Checkpoint, n_shards: int) -> str:
        """Count a checkpoint that has all its scores and whose metrics another run computes."""
        self._outcome.without_metrics.append(checkpoint)
        return Phrase("{result}, metrics later", result=self._count(checkpoint, n_shards))

    def _count(self, checkpoint: Checkpoint, n_shards: int) -> str:
        (self._outcome.scored if n_shards else self._outcome.reused).append(checkpoint)
        return Phrase("scored") if n_shards else Phrase("already scored")

    def _refuse(self, checkpoint: Checkpoint, error: MilepostError) -> str:
        """Count a checkpoint that cannot be used."""
        self._fail(checkpoint, error.one_line)
        return Phrase("cannot be used: {reason}", reason=error.one_line)

    def _fail(self, checkpoint: Checkpoint, reason: str) -> None:
        failure = Failure(checkpoint, reason)
        self._outcome.failed.append(failure)
        note_failure(self._context.results, failure)
