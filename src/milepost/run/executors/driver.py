"""Lead a pool of workers through the jobs of a run: give out units, follow events, finish checkpoints."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from milepost.cache import cache_folder
from milepost.errors import CheckpointError, MilepostError, SourceError
from milepost.language import Phrase
from milepost.run.context import RunContext
from milepost.run.executors.executor import WorkerPool
from milepost.run.executors.full_disk import FullDisk
from milepost.run.executors.messages import (
    Broken,
    Died,
    Event,
    Identified,
    Joined,
    Loaded,
    LogText,
    NoRoom,
    Order,
    Records,
    Refused,
    Said,
    ShardScored,
    UnitStored,
)
from milepost.run.executors.units import STRIKES, Loss, Schedule, ShardCost, Unit
from milepost.run.executors.worker import changed
from milepost.run.finishing import Finisher
from milepost.run.jobs import CheckpointJob
from milepost.run.journal import AT_ONCE
from milepost.run.progress import Progress
from milepost.run.records import note_visit
from milepost.run.target import plan_shards
from milepost.sources import identify
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import write_atomically
from milepost.store.cleanup import sweep
from milepost.store.leases import Leases
from milepost.store.tables import looks_whole

LOOK_S = 1.0
"""Longest time between two looks at the metrics that are computed."""
MOST_HALVINGS = 3
DEATHS_WITHOUT_WORK = 20
"""Workers that die one after the other, without a shard scored by any, before the run is given up."""

logger = logging.getLogger("milepost.run")


class Driver:
    """Leads a pool of workers through the jobs of a run."""

    def __init__(
        self,
        context: RunContext,
        pool: WorkerPool,
        leases: Leases,
        progress: Progress,
        schedule: Schedule | None = None,
    ) -> None:
        self._context = context
        self._pool = pool
        self._leases = leases
        self._progress = progress
        self._schedule = schedule or Schedule()
        self._finisher = Finisher(context, leases, progress)
        self._jobs: list[CheckpointJob] = []
        self._costs_of: dict[int, list[ShardCost]] = {}
        """By the id() of a plan."""
        self._open: set[int] = set()
        """Numbers of the jobs that are not finished."""
        self._started: set[int] = set()
        self._n_scored: Counter[int] = Counter()
        """Shards that this run scored, by job."""
        self._idle: list[int] = []
        """Workers without a unit."""
        self._has: dict[int, Unit] = {}
        self._halvings: Counter[int] = Counter()
        self._deaths = 0
        """Since a shard was scored."""
        self._has_lost = False
        self._disk = FullDisk()

    def run(self, jobs: Sequence[CheckpointJob]) -> None:
        """Do every job; a checkpoint that cannot be used is noted in the outcome, and the others go on.

        Raises:
            MilepostError: the pool cannot be used, or the results folder not be written.
        """
        self._jobs = list(jobs)
        is_clean = False
        try:
            with self._finisher:
                self._enter_all()
                if self._open:
                    with self._pool:
                        while self._open:
                            self._step()
                self._disk.until_written(functools.partial(self._finisher.finish_ready, wait=True))
            is_clean = not self._has_lost and not self._has
        finally:
            self._leases.give_back_all()
            if not is_clean:
                sweep(self._context.results)
        self._sort_outcome()

    # ---- jobs -----------------------------------------------------------------------------------------

    def _enter_all(self) -> None:
        """Identify the checkpoints that an earlier run has seen, and schedule what is missing."""
        for number, job in enumerate(self._jobs):
            if job.model_id is not None:
                try:
                    job = self._jobs[number] = job.identified(
                        identify(job.checkpoint, cache_folder()).model_id
                    )
                except (CheckpointError, SourceError) as error:
                    self._finisher.add_refused(job.checkpoint, error)
                    continue
                self._note(job)
                if not job.missing:
                    self._finish(number)
                    continue
            missing = _places(job)
            self._schedule.add(number, self._costs(job), missing, is_open=job.model_id is not None)
            self._open.add(number)

    def _costs(self, job: CheckpointJob) -> Sequence[ShardCost]:
        """Return the sizes of the shards of a job's plan."""
        if id(job.plan) not in self._costs_of:
            self._costs_of[id(job.plan)] = [
                ShardCost(task.name, task.work_of(shard)) for task, shard in plan_shards(job.plan)
            ]
        return self._costs_of[id(job.plan)]

    def _note(self, job: CheckpointJob, **noted: object) -> None:
        """Write the record of a checkpoint's visit."""
        self._disk.until_written(
            lambda: note_visit(self._context.results, job.checkpoint, job.target, **noted)
        )

    def _finish(self, number: int) -> None:
        """Begin with the metrics of a checkpoint whose scores are all stored."""
        job = self._jobs[number]
        log_path = self._context.results.log_folder(job.checkpoint.series, job.checkpoint.name)
        self._finisher.add_scored(job, self._n_scored[number], log_path / "evaluation.log")

    def _close_finished(self, number: int) -> None:
        """Finish with a checkpoint that has nothing left to do."""
        if number not in self._open or not self._schedule.is_finished(number):
            return
        self._open.discard(number)
        job = self._jobs[number]
        if failed := self._schedule.failed(number):
            self._finisher.add_refused(job.checkpoint, _gave_up(job, failed))
            return
        assert job.model_id is not None, "a worker has identified it"
        job = self._jobs[number] = replace(
            job, part=None, metrics=None, missing=plan_shards(job.plan)
        ).refreshed()
        if job.missing:
            error = CheckpointError(
                Phrase(
                    "{name}: its scores were removed while the run was under way", name=job.checkpoint.name
                )
            )
            self._finisher.add_refused(job.checkpoint, error)
            return
        self._finish(number)

    # ---- the loop -------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Give out units, wait for events, and follow them."""
        self._give()
        for worker, event in self._pool.events(LOOK_S):
            self._follow(worker, event)
        if not self._disk.is_waiting:
            self._disk.until_written(self._finisher.finish_ready)

    def _give(self) -> None:
        if self._disk.is_waiting:
            return
        for worker in list(self._idle):
            unit = self._schedule.next_unit(worker)
            if unit is None:
                continue
            self._idle.remove(worker)
            self._has[worker] = unit
            if unit.checkpoint not in self._started:
                self._started.add(unit.checkpoint)
                self._progress.start(self._jobs[unit.checkpoint].checkpoint)
            upcoming = self._schedule.upcoming(worker)
            then = None if upcoming is None else self._order(Unit(upcoming, ()))
            self._pool.give(worker, replace(self._order(unit), upcoming=then))

    def _order(self, unit: Unit) -> Order:
        job = self._jobs[unit.checkpoint]
        return Order(job.checkpoint, job.dtype, job.plan.plan_id, unit.shards, job.model_id)

    def _follow(self, worker: int, event: Event) -> None:
        """Do what an event asks for."""
        if isinstance(event, Said):
            logging.getLogger(event.name).log(event.level, "%s", event.message)
        elif isinstance(event, Joined):
            self._idle.append(worker)
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
        elif worker in self._has:
            self._follow_unit(worker, self._has[worker], event)

    def _follow_unit(self, worker: int, unit: Unit, event: Event) -> None:
        number, schedule = unit.checkpoint, self._schedule
        checkpoint = self._jobs[number].checkpoint
        if isinstance(event, Identified):
            self._identify(unit, event.model_id)
        elif isinstance(event, Loaded):
            schedule.loaded(worker, event.seconds)
        elif isinstance(event, ShardScored):
            schedule.scored(worker, event.shard, event.seconds)
            self._n_scored[number] += 1
            self._deaths = 0
            if number not in self._open:
                return  # refused meanwhile
            self._context.clock.lap(checkpoint).scoring_s += event.seconds
            planned = plan_shards(self._jobs[number].plan)[event.shard]
            # So many shards are scored at a time; loading the weights is not part of their speed.
            self._progress.advance(checkpoint, planned, event.seconds / len(self._has))
        elif isinstance(event, LogText):
            with inside.append(self._context.results.path / event.path) as log:
                log.write(event.text)
        elif isinstance(event, Records):
            for path, content in event.files:
                write = functools.partial(write_atomically, self._context.results.path / path, content)
                self._disk.until_written(write)
        else:
            if isinstance(event, UnitStored):
                schedule.ended(worker)
                self._disk.has_room()
                if event.noted and number in self._open:
                    self._note(self._jobs[number], **event.noted)
            elif isinstance(event, Refused):
                schedule.refused(worker)
                self._refuse(number, event.error)
            elif isinstance(event, NoRoom):
                schedule.returned(worker, self._stored(unit))
                self._disk.met(event.error)
            del self._has[worker]
            self._idle.append(worker)
            self._close_finished(number)

    def _refuse(self, number: int, error: MilepostError) -> None:
        if number in self._open:
            self._open.discard(number)
            self._finisher.add_refused(self._jobs[number].checkpoint, error)

    def _identify(self, unit: Unit, model_id: str) -> None:
        """Note which model a checkpoint is, and what of it is stored already.

        The shards of the unit are left to its worker, which verifies and stores them at this very moment.
        """
        number = unit.checkpoint
        job = self._jobs[number]
        if job.model_id is not None:
            if job.model_id != model_id:
                self._refuse(number, changed(job.checkpoint))
            return
        every = plan_shards(job.plan)
        others = tuple(every[place] for place in range(len(every)) if place not in set(unit.shards))
        job = replace(job, part=others).identified(model_id)
        missing = set(_places(job))
        self._jobs[number] = replace(job, part=None)
        self._schedule.opened(number, set(range(len(every))) - missing - set(unit.shards))
        self._note(job)

    def _stored(self, unit: Unit) -> set[int]:
        """Return the shards of a unit whose records exist."""
        job = self._jobs[unit.checkpoint]
        if job.model_id is None:
            return set()
        every = plan_shards(job.plan)
        return {place for place in unit.shards if looks_whole(job.target.score_path(every[place][1]))}

    # ---- workers that die -----------------------------------------------------------------------------

    def _replace(self, worker: int, death: Died) -> None:
        """Take the unit of a dead worker back, say what happened, and start another in its place."""
        self._has_lost = True
        self._deaths += 0 if death.from_outside else 1
        how = death.how
        if self._deaths > DEATHS_WITHOUT_WORK:
            raise MilepostError(
                Phrase("{n} workers died without scoring anything; the last: {how}", n=self._deaths, how=how),
                "run without --workers to see what is wrong",
            )
        if worker in self._idle:
            self._idle.remove(worker)
        unit = self._has.pop(worker, None)
        stored = set() if unit is None else self._stored(unit)
        loss = self._schedule.lost(worker, stored, from_outside=death.from_outside)
        self._halvings[worker] = min(self._halvings[worker] + 1, MOST_HALVINGS)
        logger.warning(
            "%s died%s: %s; %sanother takes its place, with 1/%d of the tokens per forward pass",
            self._pool.describe(worker),
            "" if unit is None else f" at {self._place(unit, loss)}",
            how,
            "too many have died on this, so it is given up; " if loss.has_failed else "",
            1 << self._halvings[worker],
            extra=AT_ONCE,
        )
        self._pool.replace(worker, self._halvings[worker])
        if unit is None:
            return
        if loss.has_failed and loss.struck is None:
            self._refuse(
                unit.checkpoint,
                CheckpointError(Phrase("workers died loading it, the last: {how}", how=how)),
            )
        self._close_finished(unit.checkpoint)

    def _place(self, unit: Unit, loss: Loss) -> str:
        """Return `run checkpoint-20, shard 3 of task where`."""
        job = self._jobs[unit.checkpoint]
        where = f"{job.checkpoint.series} {job.checkpoint.name}"
        return where if loss.struck is None else f"{where}, {_name_of(job, loss.struck)}"

    def _sort_outcome(self) -> None:
        """Put the checkpoints of the outcome into the order of the run."""
        order = {job.checkpoint: number for number, job in enumerate(self._jobs)}
        outcome = self._context.outcome
        for checkpoints in (outcome.scored, outcome.reused, outcome.without_metrics):
            checkpoints.sort(key=order.__getitem__)


def _places(job: CheckpointJob) -> list[int]:
    """Return the places of a job's missing shards in its plan."""
    missing = {(task.name, shard.first) for task, shard in job.missing}
    return [n for n, (task, shard) in enumerate(plan_shards(job.plan)) if (task.name, shard.first) in missing]


def _name_of(job: CheckpointJob, place: int) -> str:
    """Return `shard 3 of task where`."""
    task, shard = plan_shards(job.plan)[place]
    return f"shard {task.shards.index(shard) + 1} of task {task.name}"


def _gave_up(job: CheckpointJob, failed: Sequence[int]) -> CheckpointError:
    names = ", ".join(_name_of(job, place) for place in failed)
    return CheckpointError(
        Phrase("workers died on {names}, at least {n} on each", n=STRIKES, names=names),
        "everything else is scored; the same command tries these again, a smaller --batch-size may help",
    )
