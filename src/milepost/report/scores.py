"""The table of `milepost show`: per series, checkpoints down and metrics across."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from milepost.analysis.curves import Curve, checkpoints, curves
from milepost.analysis.row import Row
from milepost.analysis.standing import best_row
from milepost.report.blocks import Block, Note
from milepost.report.formatting import (
    NO_NUMBER,
    NOT_MEASURED,
    metric_heading,
    number,
    plus_minus,
    step_label,
)
from milepost.report.notes import reason_notes
from milepost.report.table import Cell, CellRow, Column, Table, cells, grouped
from milepost.safe_text import printable

CONSTANT_MEANS = "constant: always the same position (A, B, ...), whatever the question"


def score_report(rows: Sequence[Row]) -> Iterator[Block]:
    """Yield a table per series, then how to read them and why metrics are missing."""
    tables = score_tables(rows)
    for table in tables:
        yield table
        yield ""
    yield Note(legend(tables))
    yield from (Note(f"note: {note}") for note in reason_notes(rows))


def score_tables(rows: Sequence[Row]) -> list[Table]:
    """Return one table per series, in the order of the rows."""
    places = checkpoints(rows)
    return [
        _table(series, _labels(places[series]), its_curves)
        for series, its_curves in grouped(curves(rows), lambda curve: curve.series).items()
    ]


def legend(tables: Sequence[Table]) -> str:
    """Return one line that explains the marks that are in the tables."""
    shown = [cell for table in tables for row in table.rows for cell in row[1:]]
    texts = [cell.text for cell in shown]
    levels = {row[0].text for table in tables for row in table.footer}
    marks = {
        "± is half of the 95 % interval": any("±" in text for text in texts),
        "−a +b are its two halves where they differ": any("+" in text for text in texts),
        "* is the best of its column, where one stands out": any(cell.tone == "best" for cell in shown),
        CONSTANT_MEANS: "constant" in levels,
        f"{NO_NUMBER}: no number can be given": NO_NUMBER in texts,
        "(dtype): computed in another one than the rest of its column": any("(" in text for text in texts),
        f"{NOT_MEASURED} not measured": NOT_MEASURED in texts,
    }
    return "; ".join(meaning for meaning, is_there in marks.items() if is_there)


def _labels(places: Sequence[Row]) -> list[str]:
    """Return one label per checkpoint: its step, or its name where several have that step."""
    steps = [place.step for place in places]
    return [
        step_label(place.step if steps.count(place.step) == 1 else None, place.checkpoint) for place in places
    ]


def _table(series: str, labels: Sequence[str], its_curves: Sequence[Curve]) -> Table:
    shots_differ = len({curve.rows[0].num_fewshot for curve in its_curves}) > 1
    columns = [Column("step"), *(_column(curve, with_shots=shots_differ) for curve in its_curves)]
    values = [value_cells(curve) for curve in its_curves]
    levels = {
        "chance": [
            "" if curve.chance is None else number(curve.chance, curve.metric) for curve in its_curves
        ],
        "constant": [_band(curve) for curve in its_curves],
        "docs": [_docs(curve) for curve in its_curves],
    }
    return Table(
        tuple(columns),
        tuple(cells([label, *row]) for label, row in zip(labels, zip(*values, strict=True), strict=True)),
        title=printable(series),
        footer=tuple(cells([name, *texts]) for name, texts in levels.items() if name == "docs" or any(texts)),
    )


def _column(curve: Curve, *, with_shots: bool) -> Column:
    first = curve.rows[0]
    metric = metric_heading(curve.metric, curve.filter, first.higher_is_better)
    shots = f" {first.num_fewshot}-shot" if with_shots and first.num_fewshot is not None else ""
    return Column(f"{curve.task}.{curve.metric}", f"{printable(curve.task)}\n{metric}{shots}")


def value_cells(curve: Curve) -> CellRow:
    """Return the values of a curve with their intervals; the best has a star, where one stands out."""
    best = best_row(curve)
    usual = _usual_dtype(curve)
    return tuple(
        Cell(f"* {text}", "best") if best is not None and row.value == best.value else Cell(text)
        for row in curve.rows
        for text in [_value(row) + _other_dtype(row, usual)]
    )


def _value(row: Row) -> str:
    if row.value is None:
        return NO_NUMBER if row.is_without_number else NOT_MEASURED
    return plus_minus(row.value, row.ci_low, row.ci_high, row.metric)


def _usual_dtype(curve: Curve) -> str | None:
    """Return the dtype of most values of a column; of equally many, the last's."""
    known = [row.dtype for row in curve.measured if row.dtype is not None]
    return max(reversed(known), key=known.count, default=None)


def _other_dtype(row: Row, usual: str | None) -> str:
    """Return the dtype in brackets where a value was computed in another one than the rest of its column."""
    differs = row.value is not None and row.dtype is not None and row.dtype != usual
    return f" ({printable(str(row.dtype))})" if differs else ""


def _band(curve: Curve) -> str:
    """Return what constant answers score, from the worst to the best."""
    if curve.constant is None:
        return ""
    low, high = (number(end, curve.metric) for end in curve.constant)
    return low if low == high else f"{low}–{high}"


def _docs(curve: Curve) -> str:
    """Return the number of docs behind each value; a range where checkpoints differ."""
    counts = {row.n for row in curve.rows if row.n}
    if not counts:
        return ""
    fewest, most = min(counts), max(counts)
    return f"{most:,}" if fewest == most else f"{fewest:,}–{most:,}"
