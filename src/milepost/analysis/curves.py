"""Turn rows into curves: one metric of one series over its checkpoints, with gaps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from milepost.analysis.row import Row
from milepost.types.checkpoints import Visited, step_order

MOST_MISSING = 0.25
"""A series with a larger share of missing steps is not taken for evenly spaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One metric of one task over a series."""

    series: str
    task: str
    """The task as it was asked; see `Measurement.label`."""
    metric: str
    filter: str
    rows: tuple[Row, ...]
    """One row per checkpoint of the series, by step. `value` is None at a gap, and `n` is 0 if the checkpoint
    was not measured on this task."""

    @property
    def measured(self) -> tuple[Row, ...]:
        """The rows that have a value."""
        return tuple(row for row in self.rows if row.value is not None)

    @property
    def first(self) -> Row | None:
        return self.measured[0] if self.measured else None

    @property
    def last(self) -> Row | None:
        return self.measured[-1] if self.measured else None

    @property
    def best(self) -> Row | None:
        """The best row, the earliest of equal ones; None if the metric has no direction."""
        direction = self.rows[0].higher_is_better
        if direction is None or not self.measured:
            return None
        sign = 1 if direction else -1
        return max(self.measured, key=lambda row: sign * _value(row))

    @property
    def chance(self) -> float | None:
        return next((row.chance for row in self.rows if row.chance is not None), None)

    @property
    def constant(self) -> tuple[float, float] | None:
        """Lowest and highest value of always answering with the same position."""
        return next((row.constant for row in self.rows if row.constant is not None), None)


def checkpoints(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return for each series one row per checkpoint, by step; checkpoints without a step come last."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row.series, {}).setdefault(row.checkpoint, row)
    return {series: sorted(of_series.values(), key=_place) for series, of_series in found.items()}


def curves(rows: Sequence[Row]) -> list[Curve]:
    """Return all curves of the rows, in the order in which series, tasks and metrics first appear.

    If a curve lacks a checkpoint of its series, it gets a row without a value there, so that the gap is seen.
    """
    of_series = checkpoints(rows)
    found: dict[tuple[str, str, str, str], dict[str, Row]] = {}
    for row in rows:
        found.setdefault((row.series, row.label, row.metric, row.filter), {})[row.checkpoint] = row
    return [
        Curve(series=s, task=t, metric=m, filter=f, rows=_with_gaps(have, of_series[s]))
        for (s, t, m, f), have in found.items()
    ]


def with_gaps(shown: Sequence[Row], gaps: Iterable[Visited]) -> list[Row]:
    """Return the rows, and for each of their curves a row without a value at every gap of its series."""
    of_curve: dict[tuple[str, str, str, str], Row] = {}
    for row in shown:
        of_curve.setdefault((row.series, row.label, row.metric, row.filter), row)
    places = list(gaps)
    empty = (_gap(like, gap) for like in of_curve.values() for gap in places if gap.series == like.series)
    return [*shown, *empty]


def missing_steps(steps: Sequence[int]) -> list[int]:
    """Return the missing steps of an evenly spaced series, such as 6000 among 2000, 4000, 8000, 10000.

    Empty if many would be missing, or if the steps are not multiples of one distance.

    Args:
        steps: steps in ascending order.
    """
    distances = [after - before for before, after in pairwise(steps)]
    stride = min(distances, default=0)
    if len(distances) < 3 or stride <= 0 or any(distance % stride for distance in distances):
        return []
    missing = [step for before, after in pairwise(steps) for step in range(before + stride, after, stride)]
    return missing if len(missing) <= MOST_MISSING * len(steps) else []


def _with_gaps(have: dict[str, Row], places: list[Row]) -> tuple[Row, ...]:
    like = next(iter(have.values()))
    return tuple(have.get(place.checkpoint) or _gap(like, place) for place in places)


def _gap(like: Row, place: Row | Visited) -> Row:
    return dataclasses.replace(
        like,
        checkpoint=place.checkpoint,
        step=place.step,
        value=None,
        stderr=None,
        ci_low=None,
        ci_high=None,
        n=0,
        reason=None,
    )


def _place(row: Row) -> tuple[bool, int, str]:
    return step_order(row.step, row.checkpoint)


def _value(row: Row) -> float:
    assert row.value is not None
    return row.value
