"""The jobs of a run with workers, from what is missing to checkpoints that are finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from milepost.errors import CheckpointError, MilepostError, SourceError
from milepost.files.cache import cache_folder
from milepost.run.executors.executor import Work
from milepost.run.executors.full_disk import FullDisk
from milepost.run.executors.messages import Order
from milepost.run.executors.schedule import STRIKES, Schedule, ShardCost, Unit
from milepost.run.metrics.finishing import Finisher
from milepost.run.records import note_visit
from milepost.run.scoring.checkpoint_changes import changed, scores_removed
from milepost.run.scoring.jobs import CheckpointJob
from milepost.run.target import plan_shards
from milepost.sources import identify
from milepost.store.tables import looks_whole
from milepost.text.language import Phrase


class DrivenJobs:
    """The jobs of a run by their numbers, which the schedule uses for checkpoints."""

    def __init__(self, work: Work, schedule: Schedule, finisher: Finisher, disk: FullDisk) -> None:
        self._context = work.context
        self._progress = work.progress
        self._schedule = schedule
        self._finisher = finisher
        self._disk = disk
        self._jobs: list[CheckpointJob] = []
        self._costs_of: dict[int, list[ShardCost]] = {}
        """By the id() of a plan."""
        self._open: set[int] = set()
        """Numbers of the jobs that are not finished."""
        self._started: set[int] = set()
        self._n_scored: Counter[int] = Counter()
        """Shards that this run scored, by job."""

    @property
    def are_open(self) -> bool:
        """Return whether any job is not finished."""
        return bool(self._open)

    def enter(self, jobs: Sequence[CheckpointJob]) -> None:
        """Identify the checkpoints that an earlier run has seen, and schedule what is missing."""
        self._jobs = list(jobs)
        for number, job in enumerate(self._jobs):
            if job.model_id is not None:
                try:
                    job = self._jobs[number] = job.identified(
                        identify(job.checkpoint, cache_folder()).model_id
                    )
                except (CheckpointError, SourceError) as error:
                    self._finisher.add_refused(job.checkpoint, error)
                    continue
                self._note_visit(job)
                if not job.missing:
                    self._finish(number)
                    continue
            self._schedule.add(number, self._costs(job), _places(job), is_open=job.model_id is not None)
            self._open.add(number)

    def order(self, unit: Unit) -> Order:
        """Return a unit as a worker is told of it."""
        job = self._jobs[unit.checkpoint]
        if unit.shards and unit.checkpoint not in self._started:
            self._started.add(unit.checkpoint)
            self._progress.start(job.checkpoint)
        return Order(job.checkpoint, job.dtype, job.plan.plan_id, unit.shards, job.model_id)

    def identify(self, unit: Unit, model_id: str) -> None:
        """Note which model a checkpoint is, and what of it is stored already.

        The shards of the unit are left to its worker, which verifies and stores them at this very moment.
        """
        number = unit.checkpoint
        job = self._jobs[number]
        if job.model_id is not None:
            if job.model_id != model_id:
                self.refuse(number, changed(job.checkpoint))
            return
        every = plan_shards(job.plan)
        own = set(unit.shards)
        others = tuple(planned for place, planned in enumerate(every) if place not in own)
        job = replace(job, part=others).identified(model_id)
        missing = set(_places(job))
        self._jobs[number] = replace(job, part=None)
        self._schedule.opened(number, set(range(len(every))) - missing - own)
        self._note_visit(job)

    def scored(self, unit: Unit, shard: int, seconds: float, at_once: int) -> None:
        """Count a shard that a worker has scored; `at_once`: how many workers score now."""
        number = unit.checkpoint
        self._n_scored[number] += 1
        if number in self._open:  # not refused meanwhile
            job = self._jobs[number]
            self._context.clock.lap(job.checkpoint).scoring_s += seconds
            # Loading the weights is not part of the speed.
            self._progress.advance(job.checkpoint, plan_shards(job.plan)[shard], seconds / at_once)

    def stored(self, unit: Unit) -> set[int]:
        """Return the shards of a unit whose records exist."""
        job = self._jobs[unit.checkpoint]
        if job.model_id is None:
            return set()
        every = plan_shards(job.plan)
        return {place for place in unit.shards if looks_whole(job.target.score_path(every[place][1]))}

    def note(self, number: int, **noted: object) -> None:
        """Add to the record of a checkpoint's visit, such as the engine."""
        if noted and number in self._open:
            job = self._jobs[number]
            seconds = self._context.clock.lap(job.checkpoint).scoring_s
            self._note_visit(job, **noted, scoring_s=round(seconds, 2))

    def refuse(self, number: int, error: MilepostError) -> None:
        """Finish with a checkpoint that cannot be used."""
        if number in self._open:
            self._open.discard(number)
            self._finisher.add_refused(self._jobs[number].checkpoint, error)

    def close_finished(self, number: int) -> None:
        """Finish with a checkpoint if it has nothing left to do."""
        if number not in self._open or not self._schedule.is_finished(number):
            return
        job = self._jobs[number]
        if failed := self._schedule.failed(number):
            self.refuse(number, _gave_up(job, failed))
            return
        assert job.model_id is not None, "a worker has identified it"
        job = self._jobs[number] = replace(
            job, part=None, metrics=None, missing=plan_shards(job.plan)
        ).refreshed()
        if job.missing:
            self.refuse(number, scores_removed(job.checkpoint))
            return
        self._open.discard(number)
        self._finish(number)

    def describe(self, unit: Unit, shard: int | None) -> str:
        """Return `run checkpoint-20, shard 3 of task where`."""
        job = self._jobs[unit.checkpoint]
        where = f"{job.checkpoint.series} {job.checkpoint.name}"
        return where if shard is None else f"{where}, {_name_of(job, shard)}"

    def sort_outcome(self) -> None:
        """Put the checkpoints of the outcome into the order of the run."""
        order = {job.checkpoint: number for number, job in enumerate(self._jobs)}
        outcome = self._context.outcome
        for checkpoints in (outcome.scored, outcome.reused, outcome.without_metrics):
            checkpoints.sort(key=order.__getitem__)

    def _costs(self, job: CheckpointJob) -> Sequence[ShardCost]:
        """Return the sizes of the shards of a job's plan."""
        if id(job.plan) not in self._costs_of:
            self._costs_of[id(job.plan)] = [
                ShardCost(task.name, task.work_of(shard)) for task, shard in plan_shards(job.plan)
            ]
        return self._costs_of[id(job.plan)]

    def _note_visit(self, job: CheckpointJob, **noted: object) -> None:
        self._disk.until_written(
            lambda: note_visit(self._context.results, job.checkpoint, job.target, **noted)
        )

    def _finish(self, number: int) -> None:
        """Begin with the metrics of a checkpoint whose scores are all stored."""
        job = self._jobs[number]
        log_path = self._context.results.log_folder(job.checkpoint.series, job.checkpoint.name)
        self._finisher.add_scored(job, self._n_scored[number], log_path / "evaluation.log")


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
