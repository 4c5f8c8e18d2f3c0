"""A measurement with its interval: the row that tables, charts and exports are made of."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

from milepost.analysis.intervals import interval
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


def rows(measurements: Iterable[Measurement]) -> list[Row]:
    """Give every measurement its interval, in the same order.

    A value or standard error that is NaN or infinite becomes None: it is no number a reader could use, and
    JSON has no word for it.
    """
    return [_row(measurement) for measurement in measurements]


def record(row: Row) -> dict[str, str | int | float | None]:
    """The row as the plain mapping that `show --json` and the exports write; its keys are `RECORD_KEYS`."""
    return {key: getattr(row, key) for key in RECORD_KEYS}


_FIELDS = tuple(field.name for field in dataclasses.fields(Measurement))


def _row(measurement: Measurement) -> Row:
    fields = {name: getattr(measurement, name) for name in _FIELDS}
    value, stderr = _finite(measurement.value), _finite(measurement.stderr)
    pooled = measurement.kind == "group"
    low, high = interval(measurement.metric, value, stderr, measurement.n, pooled=pooled)
    fields |= {"value": value, "stderr": stderr, "chance": _finite(measurement.chance)}
    return Row(**fields, ci_low=low, ci_high=high)


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
