"""The metrics of one task at one checkpoint: lm_eval's rows, and the choice metrics that are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from milepost.store.current import Current
from milepost.store.metrics_record import ChoiceMetrics, MetricRow
from milepost.store.records import CheckpointRecord
from milepost.text.language import joined
from milepost.text.name_matching import matches
from milepost.types.metrics import Asked, Measurement
from milepost.types.picks import PickCounts, Picks

EVERY = ("*",)
"""The pattern of all metrics."""


RAISED_BY_A_HABIT = frozenset({"acc", "acc_norm", "acc_tokens", "acc_bytes"})
"""Metrics that a model can raise by a favourite answer alone."""


@dataclass(frozen=True)
class TaskMetrics:
    """The current metrics of one task or group at one checkpoint."""

    checkpoint: CheckpointRecord
    """The checkpoint's record, with the numerics of these metrics."""
    plan_id: str
    """The plan for which they were computed."""
    task: str
    rows: tuple[MetricRow, ...]
    """lm_eval's metrics, then the choice metrics that were asked for."""
    choices: ChoiceMetrics | None
    """Choice metrics of all tasks of the record."""
    asked: Asked
    variant: str
    """As of `Measurement`."""

    @property
    def label(self) -> str:
        """The task as it was asked; see `Measurement.label`."""
        return joined(" ", (self.task, self.variant)) if self.variant else self.task

    @property
    def has_picks(self) -> bool:
        """Return whether the task offers choices and the model gave no NaN."""
        return self.choices is not None and self.task in self.choices.picks

    @property
    def picks(self) -> PickCounts | None:
        """Return what was picked; None unless `has_picks`. Raises: ResultsError if it is damaged."""
        return None if self.choices is None else self.choices.counts(self.task)

    @cached_property
    def measurements(self) -> tuple[Measurement, ...]:
        """The rows as single values."""
        return tuple(row.measurement(self.checkpoint, self.asked, self.variant) for row in self.rows)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all of its metrics, also of those that were not asked for."""
        others = () if self.choices is None else self.choices.figures.get(self.task, ())
        return tuple(dict.fromkeys((*(row.metric for row in self.rows), *others)))

    def has_more(self, choice_metrics: tuple[str, ...]) -> bool:
        """Return whether the task has any of the choice metrics of these names and patterns."""
        if self.choices is None or self.task not in self.choices.figures:
            return False
        wanted = _wanted(tuple(self.choices.higher_is_better), choice_metrics)
        return not wanted.isdisjoint(self.choices.figures[self.task])

    @property
    def series(self) -> str:
        return self.checkpoint.series

    @property
    def is_group(self) -> bool:
        return self.rows[0].kind == "group"

    @property
    def names(self) -> tuple[str, ...]:
        """The task and the groups that it stands in."""
        return self.task, *self.rows[0].parents


def task_metrics(current: Current, choice_metrics: tuple[str, ...]) -> TaskMetrics:
    """Return the metrics of a task with the choice metrics of these names and patterns.

    Raises:
        ResultsError: a choice metric is damaged.
    """
    (checkpoint, plan_id, task, record), asked, variant = current
    rows, choices = record.of_task[task], record.choices
    if choices is not None:
        rows = _with_bands((*rows, *_choice_rows(rows[0], choices, choice_metrics)), choices)
    return TaskMetrics(checkpoint, plan_id, task, rows, choices, asked, variant)


def without_choices(current: Current) -> TaskMetrics:
    """Return the metrics of a task whose choice metrics cannot be read."""
    (checkpoint, plan_id, task, record), asked, variant = current
    return TaskMetrics(checkpoint, plan_id, task, record.of_task[task], None, asked, variant)


def _choice_rows(
    like: MetricRow, choices: ChoiceMetrics, choice_metrics: tuple[str, ...]
) -> tuple[MetricRow, ...]:
    higher = choices.higher_is_better
    wanted = _wanted(tuple(higher), choice_metrics)
    if not wanted:
        return ()
    plain = like._replace(filter="none", doc_range=None, reason=None)
    return tuple(
        plain._replace(metric=metric, higher_is_better=higher[metric], **estimate._asdict())
        for metric, estimate in choices.estimates(like.task, wanted)
    )


def _with_bands(rows: tuple[MetricRow, ...], choices: ChoiceMetrics) -> tuple[MetricRow, ...]:
    """Return the rows of a task with the range of a constant answer on those that a habit raises."""
    task = rows[0].task
    band = choices.band(task)
    if band is None:
        return rows
    fixed = bool(choices.picks[task].get("fixed"))
    return tuple(row.with_band(band, fixed=fixed) if row.metric in RAISED_BY_A_HABIT else row for row in rows)


def measurements_of(tasks: Sequence[TaskMetrics]) -> list[Measurement]:
    """Return the metrics of tasks as single values."""
    return [measured for task in tasks for measured in task.measurements]


def picks_of(tasks: Sequence[TaskMetrics]) -> list[Picks]:
    """Return what was picked on each of the tasks that offer choices."""
    return [
        Picks(
            series=task.series,
            checkpoint=task.checkpoint.name,
            step=task.checkpoint.step,
            task=task.label,
            kind=task.rows[0].kind,
            counts=picks,
        )
        for task in tasks
        if (picks := task.picks) is not None
    ]


@lru_cache(maxsize=64)
def _wanted(names: tuple[str, ...], patterns: tuple[str, ...]) -> frozenset[str]:
    hits = [{name for name in names if matches(name, [pattern])} for pattern in patterns]
    return frozenset().union(*hits) if all(hits) else frozenset(names)
