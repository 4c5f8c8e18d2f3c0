"""Find what is current in a results folder: its runs, plans, checkpoints and metrics, each record read once.

A checkpoint's name stands for the model that it held at its last visit; metrics of other models stay on disk
and are not mixed in. A task that was asked in several settings (few-shot, limit, dtype, prompts) has metrics
of each, side by side, told apart by the variant in their labels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from milepost.buckets import as_path
from milepost.errors import ResultsError
from milepost.store import file_state, listing
from milepost.store import safe_paths as inside
from milepost.store.asked import asked_of
from milepost.store.atomic_files import damaged
from milepost.store.current import Current, Found, Place, variants
from milepost.store.folder import ResultsFolder, open_folder
from milepost.store.layout import model_of
from milepost.store.metrics_record import MetricsRecord
from milepost.store.reading import place_in_series, visit_paths
from milepost.store.records import CheckpointRecord, PlanRecord, Record, RunRecord, read_record
from milepost.store.task_metrics import EVERY, TaskMetrics, measurements_of, task_metrics
from milepost.types.checkpoints import Visited
from milepost.types.metrics import Asked, Measurement


class NewestRun(NamedTuple):
    """The newest run and its plan: what was asked last, and with what."""

    run: RunRecord
    plan: PlanRecord


class ResultsIndex:
    """The records of one results folder, each read at most once and when it is first needed.

    An index does not look again: each command, and each look at a folder that grows, makes a new one.
    Methods and properties raise ResultsError where a record is damaged.
    """

    def __init__(self, folder: ResultsFolder) -> None:
        self.folder = folder
        self._plans: dict[str, PlanRecord] = {}
        self._metrics: dict[Path, MetricsRecord] = {}
        self._tasks: dict[tuple[str, ...], list[TaskMetrics]] = {}
        self._measurements: dict[tuple[str, ...], list[Measurement]] = {}
        self._numerics: dict[str, dict[str, list[str]]] = {}

    @classmethod
    def open(cls, path: str | Path) -> ResultsIndex:
        """Open the results folder at `path`. Raises: ResultsError if it is not one."""
        return cls(open_folder(as_path(path)))

    def _read(self, kind: type[Record], path: Path) -> Record:
        """Return one record."""
        return read_record(kind, path)

    def _read_all(self, kind: type[Record], paths: Iterable[Path]) -> list[Record]:
        """Return the records at some places, in their order."""
        paths = list(paths)
        inside.bring(paths)
        return [self._read(kind, path) for path in paths]

    # ---- runs and plans -------------------------------------------------------------------------------

    @cached_property
    def runs(self) -> tuple[RunRecord, ...]:
        """All runs, the newest first."""
        return tuple(self._read_all(RunRecord, reversed(self.folder.run_paths())))

    @cached_property
    def newest(self) -> NewestRun | None:
        """The newest run with its plan; None before the first."""
        return NewestRun(self.runs[0], self.plan(self.runs[0].plan_id)) if self.runs else None

    @cached_property
    def plan_ids(self) -> tuple[str, ...]:
        """The plans of all runs, the newest first."""
        return tuple(dict.fromkeys(run.plan_id for run in self.runs))

    def plan(self, plan_id: str) -> PlanRecord:
        """Return one plan."""
        if plan_id not in self._plans:
            self._plans[plan_id] = self._read(PlanRecord, self.folder.plan_path(plan_id))
        return self._plans[plan_id]

    def is_asked(self, plan_id: str, checkpoint: CheckpointRecord) -> bool:
        """Return whether a plan was meant for a checkpoint.

        Two checkpoints can be the same model and still be asked differently: with another limit, or as their
        own generation_config.json says.
        """
        series = checkpoint.series
        return bool({(plan_id, series, checkpoint.name), (plan_id, series, None)} & self._asked)

    @cached_property
    def _asked(self) -> set[tuple[str, str, str | None]]:
        """(plan, series, checkpoint); None for all checkpoints of the series, as the first versions wrote."""
        return {
            (run.plan_id, series, name)
            for run in self.runs
            for series in run.series
            for name in run.checkpoints.get(series, (None,))
        }

    # ---- checkpoints ----------------------------------------------------------------------------------

    @property
    def series(self) -> tuple[str, ...]:
        """The series, in the order in which they were first asked for."""
        return tuple(self._by_series)

    def checkpoints(self, series: str | None = None) -> list[CheckpointRecord]:
        """Return the checkpoints that stand for a model, by series and step.

        Args:
            series: only of this one.
        """
        if series is not None:
            return list(self._by_series.get(series, ()))
        return [checkpoint for own in self._by_series.values() for checkpoint in own]

    @property
    def visits(self) -> list[CheckpointRecord]:
        """The last visits of all checkpoints, also of those that could not be used."""
        return list(self._visits.values())

    def visits_of(self, series: str) -> list[CheckpointRecord]:
        """Return the last visits of the checkpoints of a series."""
        return [visit for visit in self._visits.values() if visit.series == series]

    def visit(self, series: str, name: str) -> CheckpointRecord | None:
        """Return the record of a checkpoint's last visit; None before the first."""
        return self._visits.get((series, name))

    @cached_property
    def _visits(self) -> dict[tuple[str, str], CheckpointRecord]:
        visits = self._read_all(CheckpointRecord, visit_paths(self.folder))
        return {(visit.series, visit.name): visit for visit in visits}

    @cached_property
    def _by_series(self) -> dict[str, list[CheckpointRecord]]:
        found: dict[str, list[CheckpointRecord]] = {
            series: [] for run in reversed(self.runs) for series in run.series
        }
        for checkpoint in self._visits.values():
            if checkpoint.model_id:
                found.setdefault(checkpoint.series, []).append(checkpoint)
        for checkpoints in found.values():
            checkpoints.sort(key=place_in_series)
        return found

    @cached_property
    def missing(self) -> list[Visited]:
        """Checkpoints that were visited and have no current metrics: gaps in their series."""
        return [
            Visited(visit.series, visit.name, visit.step)
            for place, visit in self._visits.items()
            if place not in self.scored
        ]

    @cached_property
    def scored(self) -> set[tuple[str, str]]:
        """(series, checkpoint) of every checkpoint that has current metrics."""
        return {(found.checkpoint.series, found.checkpoint.name) for found, _, _ in self._current}

    # ---- metrics --------------------------------------------------------------------------------------

    def has_metrics(self, plan_id: str, checkpoint: CheckpointRecord) -> bool:
        """Return whether a checkpoint has metrics under a plan, in the numerics of its last visit."""
        return file_state.exists(self.folder.metrics_path(plan_id, *checkpoint.model))

    def metrics_record(self, plan_id: str, checkpoint: CheckpointRecord) -> MetricsRecord:
        """Return the metrics of a checkpoint under a plan."""
        path = self.folder.metrics_path(plan_id, *checkpoint.model)
        if path not in self._metrics:
            self._metrics[path] = self._read(MetricsRecord, path)
        return self._metrics[path]

    def current_plans(self) -> list[tuple[str, CheckpointRecord]]:
        """Return each checkpoint with every plan, and every dtype, of which it has current metrics.

        By series and step, then by plan, the oldest first.
        """
        found = {
            (one.checkpoint.series, one.checkpoint.name, one.plan_id, one.checkpoint.numerics): one
            for one, _, _ in self._current
        }
        places = {(one.series, one.name): place for place, one in enumerate(self.checkpoints())}
        newest_last = {plan_id: -place for place, plan_id in enumerate(self.plan_ids)}
        ordered = sorted(
            found.values(),
            key=lambda one: (
                places[one.checkpoint.series, one.checkpoint.name],
                newest_last[one.plan_id],
                one.checkpoint.numerics or "",
            ),
        )
        return [(one.plan_id, one.checkpoint) for one in ordered]

    def asked_since(self, plan_id: str) -> float:
        """Return when a plan was first asked, in seconds since 1970; 0 where no record says."""
        return next((run.time for run in reversed(self.runs) if run.plan_id == plan_id and run.time), 0.0)

    def plans_with_metrics(
        self, checkpoint: CheckpointRecord, among: Collection[str] | None = None
    ) -> list[str]:
        """Return the plans that a checkpoint was asked and has metrics of, the newest first.

        Args:
            among: only these plans.
        """
        return [
            plan_id
            for plan_id in self.plan_ids
            if (among is None or plan_id in among)
            and self.is_asked(plan_id, checkpoint)
            and self.has_metrics(plan_id, checkpoint)
        ]

    def tasks(self, choice_metrics: Sequence[str] = EVERY) -> list[TaskMetrics]:
        """Return the current metrics by series, step, then task in the order the tasks were asked in.

        Args:
            choice_metrics: names or patterns of the metrics wanted that lm_eval does not give: of large
                results they are most rows. Where a pattern matches none of them all are given, as it may be
                mistyped.
        """
        key = tuple(choice_metrics)
        if () not in self._tasks:
            self._tasks[()] = [self._task(found, ()) for found in self._current]
        if key not in self._tasks:
            self._tasks[key] = [
                self._task(found, key) if plain.has_more(key) else plain
                for found, plain in zip(self._current, self._tasks[()], strict=True)
            ]
        return self._tasks[key]

    def tasks_named(self, names: Collection[str]) -> list[TaskMetrics]:
        """Return all current metrics of some tasks and groups, in the order of `tasks`."""
        return [self._task(current, EVERY) for current in self._current if current.found.task in names]

    def metrics(self, choice_metrics: Sequence[str] = EVERY) -> list[Measurement]:
        """Return the current metrics as single values. Argument and order as of `tasks`."""
        key = tuple(choice_metrics)
        if key not in self._measurements:
            self._measurements[key] = measurements_of(self.tasks(key))
        return self._measurements[key]

    @cached_property
    def _current(self) -> list[Current]:
        """Tasks with settings and variant, by series, step, then in the order that they were asked in."""
        found: dict[str, dict[str, dict[Place, Found]]] = {}
        """By task, then setting; of each setting the newest plan's."""
        for plan_id in self.plan_ids:
            inside.bring(
                self.folder.metrics_path(plan_id, *visited.model)
                for visited in self.checkpoints()
                if self.is_asked(plan_id, visited)
            )
            for visited in self.checkpoints():
                for checkpoint in self._with_metrics(plan_id, visited):
                    record = self.metrics_record(plan_id, checkpoint)
                    place = checkpoint.series, checkpoint.name, checkpoint.dtype
                    for task, setting in record.settings.items():
                        of_setting = found.setdefault(task, {}).setdefault(setting, {})
                        of_setting.setdefault(place, Found(checkpoint, plan_id, task, record))
        ordered = [current for of_task in found.values() for current in variants(of_task, self._asked_with)]
        place_of = {
            (checkpoint.series, checkpoint.name): place for place, checkpoint in enumerate(self.checkpoints())
        }
        ordered.sort(key=lambda one: place_of[one.found.checkpoint.series, one.found.checkpoint.name])
        return ordered

    def _asked_with(self, found: Found) -> Asked:
        num_fewshot = found.record.of_task[found.task][0].num_fewshot
        if not file_state.exists(self.folder.plan_path(found.plan_id)):  # `milepost verify` tells of it
            return Asked(num_fewshot=num_fewshot)
        return asked_of(self.plan(found.plan_id), num_fewshot)

    def _with_metrics(self, plan_id: str, checkpoint: CheckpointRecord) -> list[CheckpointRecord]:
        """Return the checkpoint with the numerics of its metrics under a plan, once for each dtype.

        Of one dtype, the numerics of the last visit come first, then the newest.
        """
        if not self.is_asked(plan_id, checkpoint):
            return []
        if plan_id not in self._numerics:
            found: dict[str, list[str]] = {}
            for path in reversed(listing.files(self.folder.metrics_folder(plan_id), "*.json")):
                model_id, numerics = model_of(path)
                found.setdefault(model_id, []).append(numerics)
            self._numerics[plan_id] = found
        stored = self._numerics[plan_id].get(checkpoint.model_id or "", [])
        last = [numerics for numerics in stored if numerics == checkpoint.numerics]
        by_dtype: dict[str | None, CheckpointRecord] = {}
        for numerics in (*last, *stored):
            record = checkpoint if numerics == checkpoint.numerics else replace(checkpoint, numerics=numerics)
            by_dtype.setdefault(record.dtype, record)
        return list(by_dtype.values())

    def _task(self, current: Current, choice_metrics: tuple[str, ...]) -> TaskMetrics:
        try:
            return task_metrics(current, choice_metrics)
        except ResultsError as error:
            found = current.found
            path = self.folder.metrics_path(found.plan_id, *found.checkpoint.model)
            raise damaged(path, error) from error
