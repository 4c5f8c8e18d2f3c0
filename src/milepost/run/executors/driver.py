"""Lead a pool of workers through the jobs of a run: give out units and follow events."""

from __future__ import annotations

import functools
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from milepost.run.display.screen_messages import SHOWN
from milepost.run.executors.driven_jobs import DrivenJobs
from milepost.run.executors.executor import Work, WorkerPool
from milepost.run.executors.full_disk import FullDisk
from milepost.run.executors.losses import Losses
from milepost.run.executors.messages import (
    Alive,
    Broken,
    Died,
    Event,
    Identified,
    Joined,
    Loaded,
    LogText,
    MetricsLeft,
    MetricsOrder,
    MetricsStored,
    Records,
    Refused,
    Said,
    ShardScored,
    UnitStored,
)
from milepost.run.executors.schedule import Schedule, Unit
from milepost.run.executors.vigil import Vigil
from milepost.run.metrics.finishing import Finisher
from milepost.run.metrics.metrics_worker import ComputedMetrics, PendingMetrics
from milepost.run.scoring.jobs import CheckpointJob
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import write_atomically
from milepost.store.cleanup import sweep

LOOK_S = 1.0
"""Longest time between two looks at the metrics that are computed."""

logger = logging.getLogger("milepost.run")


class Driver:
    """Leads a pool of workers through the jobs of a run."""

    def __init__(self, work: Work, pool: WorkerPool, schedule: Schedule | None = None) -> None:
        self._work = work
        self._pool = pool
        self._schedule = schedule or Schedule()
        self._finisher = Finisher(work.context, work.leases, work.progress)
        self._disk = FullDisk()
        self._jobs = DrivenJobs(work, self._schedule, self._finisher, self._disk)
        self._losses = Losses(self._schedule, self._jobs, pool)
        self._vigil = Vigil()
        self._idle: deque[int] = deque()
        """Workers without a unit; the one that ended last stands last, and is asked first: it has weights."""
        self._has: dict[int, Unit] = {}
        self._counts: dict[int, PendingMetrics] = {}
        """The metrics that workers with nothing to score compute."""

    def run(self, jobs: Sequence[CheckpointJob]) -> None:
        """Do every job; a checkpoint that cannot be used is noted in the outcome, and the others go on.

        Raises:
            MilepostError: the pool cannot be used, or the results folder not be written.
        """
        is_clean = False
        try:
            with self._finisher:
                self._jobs.enter(jobs)
                if self._jobs.are_open:
                    self._lead()
                self._disk.until_written(functools.partial(self._finisher.finish_ready, wait=True))
            is_clean = not self._losses.any and not self._has
        finally:
            self._work.leases.give_back_all()
            if not is_clean:
                sweep(self._work.context.results)
        self._jobs.sort_outcome()

    def _lead(self) -> None:
        """Start the workers, and lead them until no job is open."""
        with self._pool:
            for worker in range(self._pool.n_workers):
                self._pool.start(worker, 0)
            while self._jobs.are_open or self._counts or self._may_help:
                if not self._disk.is_waiting:
                    self._give()
                for worker, event in self._pool.events(LOOK_S):
                    self._follow(worker, event)
                for worker, why in self._vigil.hanging(self._has, self._schedule.expected_s):
                    self._pool.kill(worker, why)
                if not self._disk.is_waiting:
                    self._disk.until_written(self._finisher.finish_ready)

    def _give(self) -> None:
        """Give units to workers without one, until there is nothing to do."""
        while self._idle:
            worker = self._idle[-1]
            unit = self._schedule.next_unit(worker)
            if unit is None:
                self._lend()
                return
            self._idle.pop()
            self._has[worker] = unit
            self._vigil.moved(worker)
            upcoming = self._schedule.upcoming(worker)
            then = None if upcoming is None else self._jobs.order(Unit(upcoming, ()))
            self._pool.give(worker, replace(self._jobs.order(unit), upcoming=then))

    @property
    def _may_help(self) -> bool:
        """Return whether workers would shorten the wait for the metrics."""
        return self._pool.computes_metrics and self._finisher.is_behind

    def _lend(self) -> None:
        """Let workers with nothing to score compute metrics, while many wait."""
        while self._idle and self._may_help:
            borrowed = self._finisher.borrow()
            if borrowed is None:
                return
            job, pending = borrowed
            worker = self._idle.pop()
            self._counts[worker] = pending
            self._pool.give(
                worker, MetricsOrder(job.checkpoint, job.dtype, job.plan.plan_id, job.target.model_id)
            )

    # ---- what workers tell ----------------------------------------------------------------------------

    def _follow(self, worker: int, event: Event) -> None:
        """Do what an event asks for."""
        if isinstance(event, Alive):
            self._vigil.alive(worker, event.cpu_s)
        elif isinstance(event, Said):
            logging.getLogger(event.name).log(event.level, "%s", event.message, extra={SHOWN: event.shown})
        elif isinstance(event, Joined):
            self._idle.appendleft(worker)
            if event.pid:
                logger.info(
                    "%s is process %d on %s; joined after %.2f s of CPU",
                    self._pool.describe(worker), event.pid, event.host, event.cpu_s,
                )  # fmt: skip
        elif isinstance(event, Died):
            self._replace(worker, event)
        elif isinstance(event, Broken):
            if event.error is not None:
                raise event.error
            raise RuntimeError(f"{self._pool.describe(worker)} met a bug:\n{event.traceback}")
        elif isinstance(event, MetricsStored):
            self._end_metrics(worker, ComputedMetrics(event.problem, event.seconds))
        elif isinstance(event, MetricsLeft):
            logger.info("%s left metrics to the driver: %s", self._pool.describe(worker), event.why)
            self._end_metrics(worker, None)
        elif worker in self._has:
            self._vigil.moved(worker, has_scored=isinstance(event, ShardScored))
            self._follow_unit(worker, self._has[worker], event)

    def _follow_unit(self, worker: int, unit: Unit, event: Event) -> None:
        if isinstance(event, Identified):
            self._jobs.identify(unit, event.model_id)
        elif isinstance(event, Loaded):
            self._schedule.loaded(worker, event.seconds)
        elif isinstance(event, ShardScored):
            self._schedule.scored(worker, event.shard, event.seconds)
            self._losses.forget()
            self._jobs.scored(unit, event.shard, event.seconds, at_once=len(self._has))
        elif isinstance(event, LogText):
            with inside.append(self._work.context.results.path / event.path) as log:
                log.write(event.text)
        elif isinstance(event, Records):
            for path, content in event.files:
                place = self._work.context.results.path / path
                self._disk.until_written(functools.partial(write_atomically, place, content))
        elif isinstance(event, UnitStored | Refused):
            self._end(worker, unit, event)

    def _end(self, worker: int, unit: Unit, event: UnitStored | Refused) -> None:
        """Take a unit back from its worker, scored or not."""
        if isinstance(event, UnitStored):
            self._schedule.ended(worker)
            self._disk.has_room()
            self._jobs.note(unit.checkpoint, **event.noted)
        elif event.is_full:
            self._schedule.returned(worker, self._jobs.stored(unit))
            self._disk.met(event.error)
        else:
            self._schedule.refused(worker)
            self._jobs.refuse(unit.checkpoint, event.error)
        del self._has[worker]
        self._idle.append(worker)
        self._jobs.close_finished(unit.checkpoint)

    def _end_metrics(self, worker: int, computed: ComputedMetrics | None) -> None:
        """Take metrics back from a worker, computed or not."""
        self._counts.pop(worker).give_back(computed)
        self._idle.append(worker)

    def _replace(self, worker: int, death: Died) -> None:
        """Take the unit of a dead worker back, and start another worker in its place."""
        self._vigil.gone(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        if (lent := self._counts.pop(worker, None)) is not None:
            lent.give_back(None)
        halvings = self._losses.take(worker, self._has.pop(worker, None), death)
        self._pool.start(worker, halvings)
