"""Add intervals to measurements: the rows of tables, charts and exports."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from milepost.analysis.intervals import Member, group_interval, interval
from milepost.types.metrics import Asked, Measurement
from milepost.types.variants import other_settings

RECORD_KEYS = (
    "series",
    "checkpoint",
    "step",
    "task",
    "metric",
    "filter",
    "value",
    "stderr",
    "ci_low",
    "ci_high",
    "n",
    "chance",
    "num_fewshot",
    "limit",
    "dtype",
    "settings",
    "reason",
)
"""Keys of an exported row, in order; part of the public format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Measurement):
    """A `Measurement` with its 95 % interval."""

    ci_low: float | None
    """None if the value has no interval."""
    ci_high: float | None

    @property
    def is_without_number(self) -> bool:
        """True if the metric could not be computed from the scores; a gap was not measured at all."""
        return self.value is None and (self.n > 0 or self.reason is not None)


def rows(measurements: Iterable[Measurement], among: Iterable[Measurement] | None = None) -> list[Row]:
    """Add its interval to every measurement, in the same order.

    A value or standard error that is NaN or infinite becomes None, because readers cannot use it and JSON
    cannot express it.

    Args:
        among: all measurements of the same results; the interval of a group is computed from those of its
            tasks. Default: `measurements`.
    """
    measured = list(measurements)
    tasks = _Tasks(measured if among is None else among)
    return [_row(measurement, tasks) for measurement in measured]


def finite(measurement: Measurement) -> Measurement:
    """Return the measurement with None in place of a number that is NaN or infinite."""
    numbers = measurement.value, measurement.stderr, measurement.chance
    value, stderr, chance = map(_finite, numbers)
    if (value, stderr, chance) == numbers:
        return measurement
    return dataclasses.replace(measurement, value=value, stderr=stderr, chance=chance)


def record(row: Row) -> dict[str, str | int | float | None]:
    """Return the row as the mapping that `show --json` and exports write, with the keys `RECORD_KEYS`.

    `settings` are the options without a key of their own, such as a chat template; `reason` says why a value
    is missing.
    """
    limit = row.asked.limit
    settings = {
        "limit": int(limit) if limit is not None and limit == int(limit) else limit,
        "settings": other_settings(row.asked) or None,
    }
    return {key: settings[key] if key in settings else getattr(row, key) for key in RECORD_KEYS}


_FIELDS = tuple(field.name for field in dataclasses.fields(Measurement))


def _row(measurement: Measurement, tasks: _Tasks) -> Row:
    fields = {name: getattr(measurement, name) for name in _FIELDS}
    value, stderr = _finite(measurement.value), _finite(measurement.stderr)
    pooled = measurement.kind == "group"
    members = tasks.of(measurement) if pooled and value is not None else []
    if value is not None and members:
        low, high = group_interval(measurement.metric, value, stderr, members)
    else:
        low, high = interval(
            measurement.metric,
            value,
            stderr,
            measurement.n,
            pooled=pooled,
            doc_range=measurement.doc_range,
        )
    fields |= {"value": value, "stderr": stderr, "chance": _finite(measurement.chance)}
    return Row(**fields, ci_low=low, ci_high=high)


class _Tasks:
    """Finds the tasks behind a group's metric."""

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self._measurements = measurements

    @cached_property
    def _in_groups(self) -> dict[tuple[_GroupKey, str], list[Measurement]]:
        """The tasks by the group's name, and what a group has in common with them."""
        found: dict[tuple[_GroupKey, str], list[Measurement]] = {}
        for measurement in self._measurements:
            if measurement.kind == "task" and measurement.parents:
                key = _group_key(measurement)
                for parent in measurement.parents:
                    found.setdefault((key, parent), []).append(measurement)
        return found

    def of(self, group: Measurement) -> list[Member]:
        """Return the tasks of a group's metric with their weights; empty if their mean is not its value."""
        inside = self._in_groups.get((_group_key(group), group.task), ())
        tasks = [task for task in inside if _has_its_examples(task, group)]
        values = [_finite(task.value) for task in tasks]
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values) or sum(task.n for task in tasks) != group.n:
            return []
        assert group.value is not None
        for weights in ([task.n for task in tasks], [1] * len(tasks)):
            total = sum(weights)
            mean = math.fsum(w * value for w, value in zip(weights, known, strict=True)) / total
            if math.isclose(mean, group.value, rel_tol=1e-6, abs_tol=1e-9):
                return [
                    Member(value, _finite(task.stderr), task.n, w / total)
                    for task, value, w in zip(tasks, known, weights, strict=True)
                ]
        return []


def members_of(group: Measurement, measurements: Iterable[Measurement]) -> list[Measurement]:
    """Return the tasks of a group's metric at its checkpoint, asked with its settings."""
    key = _group_key(group)
    return [
        task
        for task in measurements
        if task.kind == "task"
        and group.task in task.parents
        and _group_key(task) == key
        and _has_its_examples(task, group)
    ]


def _has_its_examples(task: Measurement, group: Measurement) -> bool:
    return group.num_fewshot in (None, task.num_fewshot)


_GroupKey = tuple[str, str, str, str, Asked]


def _group_key(measurement: Measurement) -> _GroupKey:
    """Return what a group has in common with its tasks; their numbers of examples may differ."""
    asked = _but_for_examples(measurement.asked)
    return measurement.series, measurement.checkpoint, measurement.metric, measurement.filter, asked


@lru_cache(maxsize=256)
def _but_for_examples(asked: Asked) -> Asked:
    return asked._replace(num_fewshot=None, edition=0)


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
