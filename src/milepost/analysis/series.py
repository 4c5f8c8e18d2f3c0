"""Rows as curves: one figure of one series, checkpoint after checkpoint, with its gaps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from milepost.analysis.row import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One metric of one task through a series."""

    series: str
    task: str
    metric: str
    filter: str
    rows: tuple[Row, ...]
    """One per checkpoint of the series, by step; `value` is None where there is a gap, and `n` is 0 where the
    checkpoint was not measured on this task at all."""

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
        """The best row, the earliest of equals; None where the metric has no better and worse."""
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
        """What always answering with the same position scores, at worst and at best."""
        return next((row.constant for row in self.rows if row.constant is not None), None)


def checkpoints(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Per series, one row for each of its checkpoints, by step; those without a step come last."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row.series, {}).setdefault(row.checkpoint, row)
    return {series: sorted(of_series.values(), key=_place) for series, of_series in found.items()}


def curves(rows: Sequence[Row]) -> list[Curve]:
    """All curves in the rows, in the order in which series, tasks and metrics first appear.

    Where a series has a checkpoint that one of its curves lacks, the curve gets a row without a value there,
    so that a gap is seen as a gap.
    """
    of_series = checkpoints(rows)
    found: dict[tuple[str, str, str, str], dict[str, Row]] = {}
    for row in rows:
        found.setdefault((row.series, row.task, row.metric, row.filter), {})[row.checkpoint] = row
    return [
        Curve(series=s, task=t, metric=m, filter=f, rows=_with_gaps(have, of_series[s]))
        for (s, t, m, f), have in found.items()
    ]


def _with_gaps(have: dict[str, Row], places: list[Row]) -> tuple[Row, ...]:
    like = next(iter(have.values()))
    return tuple(have.get(place.checkpoint) or _gap(like, place) for place in places)


def _gap(like: Row, place: Row) -> Row:
    return dataclasses.replace(
        like,
        checkpoint=place.checkpoint,
        step=place.step,
        value=None,
        stderr=None,
        ci_low=None,
        ci_high=None,
        n=0,
    )


def _place(row: Row) -> tuple[bool, int, str]:
    return row.step is None, row.step or 0, row.checkpoint


def _value(row: Row) -> float:
    assert row.value is not None
    return row.value
