"""The table of one series as plain text cells: steps down, figures across. Knows no output format.

The terminal, Markdown and HTML tables are all made from it, so they say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from milepost.analysis.curves import Curve, checkpoints, curves
from milepost.analysis.row import Row
from milepost.report.formatting import (
    NO_NUMBER,
    NOT_MEASURED,
    direction_arrow,
    number,
    plus_minus,
)
from milepost.safe_text import printable

CONSTANT_MEANS = "constant: always the same position (A, B, ...), whatever the question"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure as text."""

    text: str
    best: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One figure through a series."""

    task: str
    metric: str
    """Metric, its filter where it has one, an arrow in the direction of better, n-shot where they differ."""
    cells: tuple[Cell, ...]
    """One per checkpoint."""
    chance: str
    """What guessing would score; empty where there is no such level."""
    constant: str
    """What always answering with the same position would score, from the worst to the best; likewise."""
    docs: str
    """Docs behind each figure; a range where checkpoints differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The table of one series."""

    series: str
    steps: tuple[str, ...]
    """One label per checkpoint: its step, or its name where the step does not tell it apart."""
    columns: tuple[Column, ...]

    @property
    def has_chance(self) -> bool:
        return any(column.chance for column in self.columns)

    @property
    def has_constant(self) -> bool:
        return any(column.constant for column in self.columns)


def grids(rows: Sequence[Row]) -> list[Grid]:
    """One table per series, in the order of the rows."""
    of_series: dict[str, list[Curve]] = {}
    for curve in curves(rows):
        of_series.setdefault(curve.series, []).append(curve)
    places = checkpoints(rows)
    return [
        Grid(
            series=printable(series),
            steps=_labels(places[series]),
            columns=tuple(_column(curve, tell_shots=_shots_differ(its_curves)) for curve in its_curves),
        )
        for series, its_curves in of_series.items()
    ]


def _shots_differ(its_curves: Sequence[Curve]) -> bool:
    return len({curve.rows[0].num_fewshot for curve in its_curves}) > 1


def legend(tables: Sequence[Grid]) -> str:
    """How to read the marks that are in the tables, in one line."""
    cells = [cell for grid in tables for column in grid.columns for cell in column.cells]
    marks = {
        "± is half of the 95 % interval": any("±" in cell.text for cell in cells),
        "−a +b are its two halves where they differ": any("+" in cell.text for cell in cells),
        "* is the best of its column": any(cell.best for cell in cells),
        CONSTANT_MEANS: any(grid.has_constant for grid in tables),
        f"{NO_NUMBER}: no number can be given": any(cell.text == NO_NUMBER for cell in cells),
        "(dtype): computed in another one than the rest of its column": any(
            "(" in cell.text for cell in cells
        ),
        f"{NOT_MEASURED} not measured": any(cell.text == NOT_MEASURED for cell in cells),
    }
    return "; ".join(meaning for meaning, is_there in marks.items() if is_there)


def figure_name(metric: str, filter_name: str) -> str:
    """`acc`, or `exact_match (strict-match)` where the figure comes through a filter."""
    return printable(metric if filter_name in ("", "none") else f"{metric} ({filter_name})")


def _labels(places: list[Row]) -> tuple[str, ...]:
    steps = [place.step for place in places]
    return tuple(
        str(place.step)
        if place.step is not None and steps.count(place.step) == 1
        else printable(place.checkpoint)
        for place in places
    )


def _column(curve: Curve, *, tell_shots: bool) -> Column:
    best = curve.best
    shots = curve.rows[0].num_fewshot
    asked = f" {shots}-shot" if tell_shots and shots is not None else ""
    several = len(curve.measured) > 1
    usual = _usual_dtype(curve)
    return Column(
        task=printable(curve.task),
        metric=f"{figure_name(curve.metric, curve.filter)} "
        f"{direction_arrow(curve.rows[0].higher_is_better)}{asked}".strip(),
        cells=tuple(
            Cell(
                text=_figure(row) + _other_dtype(row, usual),
                best=several and best is not None and row.value == best.value,
            )
            for row in curve.rows
        ),
        chance="" if curve.chance is None else number(curve.chance, curve.metric),
        constant=_band(curve),
        docs=_docs(curve),
    )


def _usual_dtype(curve: Curve) -> str | None:
    """What most figures of a column were computed in; of equally many, the last's."""
    known = [row.dtype for row in curve.measured if row.dtype is not None]
    return max(reversed(known), key=known.count, default=None)


def _other_dtype(row: Row, usual: str | None) -> str:
    """Says it at the cell where a figure was computed in another dtype than the rest of its column."""
    differs = row.value is not None and row.dtype is not None and row.dtype != usual
    return f" ({printable(str(row.dtype))})" if differs else ""


def _band(curve: Curve) -> str:
    if curve.constant is None:
        return ""
    low, high = (number(end, curve.metric) for end in curve.constant)
    return low if low == high else f"{low}–{high}"


def _figure(row: Row) -> str:
    if row.value is None:
        return NO_NUMBER if row.is_without_number else NOT_MEASURED
    return plus_minus(row.value, row.ci_low, row.ci_high, row.metric)


def _docs(curve: Curve) -> str:
    counts = {row.n for row in curve.rows if row.n}
    if not counts:
        return ""
    fewest, most = min(counts), max(counts)
    return f"{most:,}" if fewest == most else f"{fewest:,}–{most:,}"
