"""A measurement with its interval: the row that tables, charts and exports are made of."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

from milepost.analysis.intervals import Member, group_interval, interval
from milepost.types import Measurement

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
)
"""Keys of an exported row, in their order; part of the public format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Measurement):
    """A `Measurement` and its 95 % interval."""

    ci_low: float | None
    """None where the figure has no interval."""
    ci_high: float | None

    @property
    def is_without_number(self) -> bool:
        """Whether no figure could be made of the answers; a gap was not asked at all."""
        return self.value is None and (self.n > 0 or self.reason is not None)


def rows(measurements: Iterable[Measurement], among: Iterable[Measurement] | None = None) -> list[Row]:
    """Give every measurement its interval, in the same order.

    A value or standard error that is NaN or infinite becomes None: it is no number a reader could use, and
    JSON has no word for it.

    Args:
        among: all figures of the same results, in which those of a group's tasks are, on which its interval
            rests; by default the measurements themselves.
    """
    given = list(measurements)
    tasks = _Tasks(given if among is None else among)
    return [_row(measurement, tasks) for measurement in given]


def record(row: Row) -> dict[str, str | int | float | None]:
    """The row as the plain mapping that `show --json` and the exports write; its keys are `RECORD_KEYS`."""
    return {key: getattr(row, key) for key in RECORD_KEYS}


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
    """Figures of tasks by what they share with their group's."""

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self._measurements = measurements
        self._found: dict[tuple[str, str, str, str], list[Measurement]] | None = None

    def of(self, group: Measurement) -> list[Member]:
        """The tasks of a group's figure with their weights; empty where they do not add up to it."""
        if self._found is None:
            self._found = {}
            for each in self._measurements:
                if each.kind == "task":
                    self._found.setdefault(_shared(each), []).append(each)
        tasks = [each for each in self._found.get(_shared(group), ()) if group.task in each.parents]
        values = [_finite(each.value) for each in tasks]
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values) or sum(each.n for each in tasks) != group.n:
            return []
        assert group.value is not None
        for weights in ([each.n for each in tasks], [1] * len(tasks)):
            total = sum(weights)
            mean = math.fsum(w * value for w, value in zip(weights, known, strict=True)) / total
            if math.isclose(mean, group.value, rel_tol=1e-6, abs_tol=1e-9):
                return [
                    Member(value, _finite(each.stderr), each.n, w / total)
                    for each, value, w in zip(tasks, known, weights, strict=True)
                ]
        return []


def _shared(of: Measurement) -> tuple[str, str, str, str]:
    return of.series, of.checkpoint, of.metric, of.filter


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
