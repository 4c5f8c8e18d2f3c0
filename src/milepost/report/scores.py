"""The table of `milepost show`: checkpoints down, or tasks down where each model has one checkpoint."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Literal, get_args

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
from milepost.report.notes import listed, reason_notes
from milepost.report.table import Cell, CellRow, Column, Table, cells, columns, grouped
from milepost.text.language import Phrase, joined
from milepost.text.safe_text import printable
from milepost.types.variants import settings_words

CONSTANT_MEANS = Phrase("constant: always the same position (A, B, ...), whatever the question")
OTHER_DTYPE = re.compile(r" \(b?float\d+\)$")
"""The end of a value that `_other_dtype` marks; names of metrics have brackets too."""

Order = Literal["asked", "name", "value"]
"""Order of the tasks: as they were asked, by name, or by the last value, the best first."""
ORDERS = get_args(Order)


def score_report(rows: Sequence[Row], order: Order = "asked") -> Iterator[Block]:
    """Yield a table per series, then how to read them and why metrics are missing."""
    tables = score_tables(rows, order)
    for table in tables:
        yield table
        yield ""
    yield Note(legend(tables))
    yield from (Note(Phrase("note: {note}", note=note)) for note in reason_notes(rows))


def score_tables(rows: Sequence[Row], order: Order = "asked") -> list[Table]:
    """Return one table per series; where every series has one checkpoint, one table with a task per row."""
    places = checkpoints(rows)
    found = _ordered(curves(rows), order)
    if all(len(of_series) == 1 for of_series in places.values()):
        return [_tasks_down([of_series[0] for of_series in places.values()], found)]
    return [
        _table(series, _labels(places[series]), its_curves)
        for series, its_curves in grouped(found, lambda curve: curve.series).items()
    ]


def _ordered(found: list[Curve], order: Order) -> list[Curve]:
    if order == "asked":
        return found
    if order == "name":
        return sorted(found, key=lambda curve: (curve.task, curve.metric, curve.filter))

    def worst_last(curve: Curve) -> float:
        value = None if curve.last is None else curve.last.value
        sign = -1.0 if curve.rows[0].higher_is_better is False else 1.0
        return math.inf if value is None else -sign * value

    return sorted(found, key=worst_last)


def _tasks_down(models: Sequence[Row], found: Sequence[Curve]) -> Table:
    """Return a row per task and metric, and a column per model."""
    values: dict[tuple[str, str, str], dict[str, Row]] = {}
    bands: dict[tuple[str, str, str], str] = {}
    for curve in found:
        key = curve.task, curve.metric, curve.filter
        values.setdefault(key, {})[curve.series] = curve.rows[0]
        bands[key] = bands.get(key) or _band(curve)
    has_bands = any(bands.values())
    rows = []
    for key, of_models in values.items():
        task, metric, filter_name = key
        any_row = next(iter(of_models.values()))
        counts = {row.n for row in of_models.values() if row.n}
        rows.append(
            cells(
                [
                    printable(task),
                    metric_heading(metric, filter_name, any_row.higher_is_better),
                    *(
                        _value(of_models[model.series]) if model.series in of_models else NOT_MEASURED
                        for model in models
                    ),
                    "" if any_row.chance is None else number(any_row.chance, metric),
                    *([bands[key]] if has_bands else ()),
                    "" if not counts else _range(counts),
                    settings_words(any_row.asked, dtype=any_row.dtype),
                ]
            )
        )
    headings = [
        "\n".join(dict.fromkeys(map(printable, (model.series, model.checkpoint)))) for model in models
    ]
    named = [
        Column(f"{model.series}/{model.checkpoint}", text)
        for model, text in zip(models, headings, strict=True)
    ]
    return Table(
        (
            *columns("task", "metric", wraps=("task", "metric")),
            *named,
            *columns("chance", *(["constant"] if has_bands else ())),
            *columns("docs", "settings", wraps=("settings",)),
        ),
        tuple(rows),
    )


def legend(tables: Sequence[Table]) -> str:
    """Return one line that explains the marks that are in the tables."""
    shown = [cell for table in tables for row in table.rows for cell in row[1:]]
    texts = [cell.text for cell in shown]
    levels = {row[0].text for table in tables for row in table.footer}
    levels |= {column.name for table in tables for column in table.columns}
    even, uneven = (any(mark in text for text in texts) for mark in "±+")
    marks = {
        Phrase("± is half of the 95 % interval"): even,
        Phrase("−a +b are its two halves where they differ"): even and uneven,
        Phrase("−a +b are the two halves of the 95 % interval"): uneven and not even,
        Phrase("* is the best of its column, where one stands out"): any(
            cell.tone == "best" for cell in shown
        ),
        CONSTANT_MEANS: "constant" in levels,
        Phrase("{mark}: no number can be given", mark=NO_NUMBER): NO_NUMBER in texts,
        Phrase("(dtype): computed in another one than the rest of its column"): any(
            OTHER_DTYPE.search(text) for text in texts
        ),
        Phrase("{mark} not measured", mark=NOT_MEASURED): NOT_MEASURED in texts,
    }
    return joined("; ", (meaning for meaning, is_there in marks.items() if is_there))


def _labels(places: Sequence[Row]) -> list[str]:
    """Return one label per checkpoint: its step, or its name where several have that step."""
    steps = [place.step for place in places]
    return [
        step_label(place.step if steps.count(place.step) == 1 else None, place.checkpoint) for place in places
    ]


def _table(series: str, labels: Sequence[str], its_curves: Sequence[Curve]) -> Table:
    names = [Column("step"), *map(_column, its_curves)]
    values = [value_cells(curve) for curve in its_curves]
    levels = {
        "chance": [
            "" if curve.chance is None else number(curve.chance, curve.metric) for curve in its_curves
        ],
        "constant": [_band(curve) for curve in its_curves],
        "docs": [_docs(curve) for curve in its_curves],
    }
    return Table(
        tuple(names),
        tuple(cells([label, *row]) for label, row in zip(labels, zip(*values, strict=True), strict=True)),
        title=printable(series),
        footer=tuple(cells([name, *texts]) for name, texts in levels.items() if name == "docs" or any(texts)),
        notes=_settings_notes(its_curves),
    )


def _settings_notes(its_curves: Sequence[Curve]) -> tuple[str, ...]:
    """Return the settings of the tasks in words: once if all have the same."""
    tasks_of = grouped(
        its_curves, lambda curve: settings_words(curve.rows[0].asked, dtype=_usual_dtype(curve))
    )
    if len(tasks_of) == 1:
        return tuple(Phrase("settings: {words}", words=words) for words in tasks_of if words)
    return tuple(
        joined(
            ": ",
            (
                words or Phrase("no settings known"),
                listed(list(dict.fromkeys(curve.task for curve in own))),
            ),
        )
        for words, own in tasks_of.items()
    )


def _column(curve: Curve) -> Column:
    metric = metric_heading(curve.metric, curve.filter, curve.rows[0].higher_is_better)
    return Column(f"{curve.task}.{curve.metric}", joined("\n", (printable(curve.task), metric)))


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
    return _range(counts) if counts else ""


def _range(counts: Collection[int]) -> str:
    fewest, most = min(counts), max(counts)
    return f"{most:,}" if fewest == most else f"{fewest:,}–{most:,}"
