"""Run the jobs of one process: each checkpoint is read while the one before it is scored."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Sequence

from milepost.errors import CheckpointError, SourceError
from milepost.run.context import RunContext
from milepost.run.display.progress import Progress
from milepost.run.metrics.finishing import Finisher
from milepost.run.records import log_head, note_visit
from milepost.run.scoring.first_docs import check_run_time
from milepost.run.scoring.job_reader import ReadJob
from milepost.run.scoring.jobs import CheckpointJob, JobState
from milepost.run.scoring.prefetch import read_ahead
from milepost.run.scoring.streaming import Stream
from milepost.run.target import PlannedShard
from milepost.store.leases import Leases
from milepost.store.workers import Worker


class Runner:
    """Does the jobs in this process, one checkpoint after the other."""

    def __init__(self, context: RunContext, worker: Worker, leases: Leases, progress: Progress) -> None:
        self._context = context
        self._leases = leases
        self._progress = progress
        self._stream = Stream(context, worker, leases)
        self._finisher = Finisher(context, leases, progress)
        self._has_estimate = False

    def run(self, jobs: Sequence[CheckpointJob]) -> None:
        """Do every job; a checkpoint that cannot be used is noted in the outcome, and the others go on.

        Checkpoints that other processes work on come last, shard by shard.

        Raises:
            ResultsError: the results folder cannot be read or written.
        """
        try:
            with self._finisher:
                left = self._pass(jobs, share=False)
                self._pass(left, share=True)
        finally:
            self._leases.give_back_all()

    def _pass(self, jobs: Sequence[CheckpointJob], *, share: bool) -> list[CheckpointJob]:
        """Do each job; unless `share`, the jobs that other processes work on are returned instead."""
        left = []
        for job, reading in read_ahead(jobs, functools.partial(self._read, share=share)):
            self._progress.start(job.checkpoint)
            try:
                if not self._evaluate(reading.result(), share=share):
                    left.append(job)
            except (CheckpointError, SourceError) as error:
                self._finisher.add_refused(job.checkpoint, error)
            finally:
                self._stream.free(reading)
        return left

    def _read(self, job: CheckpointJob, *, share: bool) -> ReadJob:
        """Read a job in the background, and keep the time."""
        start = time.monotonic()
        read = self._stream.read(job, share=share)
        if read.weights is not None:
            self._progress.clock.read_s = time.monotonic() - start
        return read

    def _evaluate(self, read: ReadJob, *, share: bool) -> bool:
        """Score a checkpoint and begin with its metrics; False where another process does, unless `share`."""
        job = read.job.refreshed()
        checkpoint = job.checkpoint
        log_path = self._context.results.log_folder(checkpoint.series, checkpoint.name) / "evaluation.log"
        # Before anything else: from now on the name stands for this model, and no longer for another one.
        note_visit(self._context.results, checkpoint, job.target)
        if read.problem is not None:
            raise read.problem
        if self._context.is_finished(job):
            self._finisher.add_scored(job, 0, log_path)
            return True
        if job.missing and (read.is_busy or (not share and self._leases.others_at(job.target.unit))):
            return False
        with self._context.journal.evaluation_log(log_path) as log:
            log_head(log, checkpoint, job.target, self._context.config, self._context.device)
            start = time.monotonic()
            n_shards = self._score(read, job, log, share=share) if job.state is JobState.UNSCORED else 0
            log.info("%d shards scored in %.1f s", n_shards, time.monotonic() - start)
        self._finisher.add_scored(job, n_shards, log_path)
        return True

    def _score(self, read: ReadJob, job: CheckpointJob, log: logging.Logger, *, share: bool) -> int:
        """Score the missing shards, and note by which engine; returns their number."""
        model = self._stream.load(read, job, log)
        if not self._has_estimate:
            self._has_estimate = True
            check_run_time(
                model.inference, model.n_parameters, job.missing, self._progress, self._context.policy
            )
        self._progress.clock.begin_scoring()
        start = time.monotonic()

        def stored(planned: PlannedShard) -> None:
            """Count a scored shard, and use the moment for checkpoints before."""
            self._progress.advance(job.checkpoint, planned)
            self._finisher.finish_ready()

        n_shards, noted = self._stream.score(job, model, log, stored, share=share)
        lap = self._context.clock.lap(job.checkpoint)
        lap.scoring_s += time.monotonic() - start
        noted["scoring_s"] = round(lap.scoring_s, 2)
        note_visit(self._context.results, job.checkpoint, job.target, **noted)
        return n_shards
