"""Run the jobs of one process: each checkpoint is read while the one before it is scored."""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from milepost.errors import CheckpointError, MilepostError, ResultsError, SourceError, StorageError
from milepost.language import Phrase
from milepost.run.context import RunContext
from milepost.run.engine_checks import connect
from milepost.run.first_docs import check_run_time
from milepost.run.inference import Inference
from milepost.run.job_reader import JobReader, ReadJob
from milepost.run.jobs import CheckpointJob, JobState
from milepost.run.metrics_worker import MetricsWorker, PendingMetrics
from milepost.run.model_slot import ModelSlot
from milepost.run.outcome import Failure
from milepost.run.prefetch import read_ahead
from milepost.run.progress import Progress
from milepost.run.records import log_head, note_failure, note_visit
from milepost.run.scoring import score_shards
from milepost.run.software_versions import COMPUTING, versions
from milepost.store.leases import Leases
from milepost.store.workers import Worker
from milepost.types import Checkpoint

logger = logging.getLogger("milepost.run")


@dataclass(frozen=True, slots=True)
class _Scored:
    """A checkpoint that has its scores, or will have none, and how to finish with it."""

    checkpoint: Checkpoint
    finish: Callable[[], str]
    """Count it in the outcome, call the callback, and return the result in a few words."""
    is_ready: Callable[[], bool] = lambda: True
    """Whether `finish` need not wait for the metrics."""


class Runner:
    """Leads checkpoints through the one live model."""

    def __init__(self, context: RunContext, worker: Worker, leases: Leases, progress: Progress) -> None:
        self._context = context
        self._worker = worker
        self._leases = leases
        self._progress = progress
        self._outcome = context.outcome
        self._reader = JobReader(context, leases)
        self._slot = ModelSlot(context.config)
        self._metrics = MetricsWorker(context.journal, leases)
        self._unfinished: deque[_Scored] = deque()
        """Checkpoints in the order in which their results are shown."""
        self._has_estimate = False
        self._fallback: str | None = None
        """The reason shown last; it is known only once the engine has met real requests."""

    def run(self, jobs: Sequence[CheckpointJob]) -> None:
        """Do every job; a checkpoint that cannot be used is noted in the outcome, and the others go on.

        Checkpoints that other processes work on come last, shard by shard. Metrics of one checkpoint are
        computed while the next is scored; results are shown in order, from this thread.

        Raises:
            ResultsError: the results folder cannot be read or written.
        """
        try:
            with self._metrics:
                left = self._pass(jobs, share=False)
                self._pass(left, share=True)
                self._finish_ready(wait=True)
        finally:
            self._leases.give_back_all()

    def _pass(self, jobs: Sequence[CheckpointJob], *, share: bool) -> list[CheckpointJob]:
        """Do each job; unless `share`, the jobs that other processes work on are returned instead."""
        left = []
        for job, reading in read_ahead(jobs, functools.partial(self._read, share=share)):
            self._progress.start(job.checkpoint)
            try:
                scored = self._evaluate(reading.result(), share=share)
            except (CheckpointError, SourceError) as error:
                scored = _Scored(job.checkpoint, functools.partial(self._refuse, job.checkpoint, error))
            finally:
                self._free(reading)
            if scored is None:
                left.append(job)
                continue
            self._progress.leave()
            self._unfinished.append(scored)
            self._finish_ready()
        return left

    def _read(self, job: CheckpointJob, *, share: bool) -> ReadJob:
        """Read a job in the background."""
        read = self._reader.read(job, share=share)
        if read.weights is not None:
            self._slot.offer(read.weights)
        return read

    def _free(self, reading: Future[ReadJob]) -> None:
        """Free the device of a checkpoint's weights, except those that the live module has."""
        if reading.exception() is None and (weights := reading.result().weights) is not None:
            self._slot.forget(weights)

    def _evaluate(self, read: ReadJob, *, share: bool) -> _Scored | None:
        """Score a checkpoint and begin with its metrics; None where another process does, unless `share`."""
        job = read.job.refreshed()
        checkpoint, target = job.checkpoint, job.target
        # Before anything else: from now on the name stands for this model, and no longer for another one.
        note_visit(self._context.results, checkpoint, target)
        if read.problem is not None:
            raise read.problem
        if job.state is JobState.DONE and job.metrics is not None:
            problem = job.metrics.problem
            return _Scored(checkpoint, lambda: self._finish(job, problem, n_shards=0))
        if self._context.is_finished(job):
            return _Scored(checkpoint, lambda: self._leave_metrics(checkpoint, n_shards=0))
        if job.missing and (read.is_busy or (not share and self._leases.others_at(target.unit))):
            return None
        log_path = self._context.results.log_folder(checkpoint.series, checkpoint.name) / "evaluation.log"
        n_shards = self._score_logged(read, job, log_path, share=share)
        if self._context.config.leaves_metrics:
            return _Scored(checkpoint, lambda: self._leave_metrics(checkpoint, n_shards))
        pending = self._metrics.compute(target, self._context.preparation.tasks_of(checkpoint), log_path)
        return _Scored(checkpoint, lambda: self._finish_computed(job, pending, n_shards), pending.is_ready)

    # ---- scoring --------------------------------------------------------------------------------------

    def _score_logged(self, read: ReadJob, job: CheckpointJob, log_path: Path, *, share: bool) -> int:
        """Score the missing shards, with what happens in the checkpoint's log; returns their number."""
        with self._context.journal.evaluation_log(log_path) as log:
            log_head(log, job.checkpoint, job.target, self._context.config, self._context.device)
            start = time.monotonic()
            n_shards = self._score(read, job, log, share=share) if job.state is JobState.UNSCORED else 0
            log.info("%d shards scored in %.1f s", n_shards, time.monotonic() - start)
        return n_shards

    def _score(self, read: ReadJob, job: CheckpointJob, log: logging.Logger, *, share: bool) -> int:
        context, target = self._context, job.target
        if context.config.engine == "openai":
            inference, n_parameters, device = connect(context.config), None, context.config.base_url
        else:
            inference, n_parameters = self._load(read, job, log)
            device = context.device
        self._worker.at(
            series=job.checkpoint.series,
            checkpoint=job.checkpoint.name,
            model_id=target.model_id,
            numerics=target.numerics,
            plan_id=job.plan.plan_id,
        )
        made = {
            "source": job.checkpoint.source,
            "device": device,
            "versions": versions(),
            "plan_id": job.plan.plan_id,
        }
        if not self._has_estimate:
            self._has_estimate = True
            check_run_time(inference, job.missing, self._progress, context.policy)
        start = time.monotonic()
        n_shards = score_shards(job, inference, self._leases, made, self._advance, share)
        context.clock.laps[job.checkpoint].scoring_s += time.monotonic() - start
        self._say_fallback(inference.fallback(job.plan))
        engine, fallback = inference.name(job.plan), inference.fallback(job.plan)
        log.info("engine: %s%s", engine, f" ({fallback})" if fallback else "")
        note_visit(
            context.results,
            job.checkpoint,
            target,
            engine=engine,
            fallback=fallback,
            n_parameters=n_parameters,
            device=device,
            versions={name: versions()[name] for name in COMPUTING if name in versions()},
        )
        return n_shards

    def _load(self, read: ReadJob, job: CheckpointJob, log: logging.Logger) -> tuple[Inference, int]:
        name = job.checkpoint.name
        if read.weights is None:
            raise CheckpointError(
                Phrase("{name}: its scores were removed while the run was under way", name=name)
            )
        from milepost.weights import merged

        start = time.monotonic()
        weights = merged(read.weights)  # here, because the background must not make modules
        for warning in weights.warnings:
            log.warning("%s: %s", name, warning)
        preparation = self._context.preparation
        series = preparation.series_of(job.checkpoint)
        first_plan = preparation.tasks[series.keys[0]].plan
        inference, n_parameters = self._slot.load(
            weights, job.dtype, self._context.device, series, first_plan
        )
        log.info("weights in place after %.2f s: %d parameters", time.monotonic() - start, n_parameters)
        return inference, n_parameters

    def _advance(self, n_tokens: int) -> None:
        """Count a scored shard, and use the moment for checkpoints before and after."""
        self._progress.advance(n_tokens)
        self._finish_ready()
        self._slot.stage_next()

    def _say_fallback(self, fallback: str | None) -> None:
        if fallback and fallback != self._fallback:
            self._fallback = fallback
            logger.warning("%s", fallback)

    # ---- results --------------------------------------------------------------------------------------

    def _finish_ready(self, *, wait: bool = False) -> None:
        """Finish with the checkpoints whose metrics are stored, in order; with all of them if `wait`."""
        while self._unfinished and (wait or self._unfinished[0].is_ready()):
            scored = self._unfinished.popleft()
            self._progress.finish(scored.checkpoint, scored.finish())

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
        self._context.clock.laps[job.checkpoint].metrics_s = computed.seconds
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
        return f"{self._count(checkpoint, n_shards)}, metrics later"

    def _count(self, checkpoint: Checkpoint, n_shards: int) -> str:
        (self._outcome.scored if n_shards else self._outcome.reused).append(checkpoint)
        return "scored" if n_shards else "already scored"

    def _refuse(self, checkpoint: Checkpoint, error: MilepostError) -> str:
        """Count a checkpoint that cannot be used."""
        self._fail(checkpoint, error.one_line)
        return f"cannot be used: {error.one_line}"

    def _fail(self, checkpoint: Checkpoint, reason: str) -> None:
        failure = Failure(checkpoint, reason)
        self._outcome.failed.append(failure)
        note_failure(self._context.results, failure)
