"""What `milepost compare` prints: a sentence and the tasks of each variant."""

from __future__ import annotations

from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from milepost.report.comparison.study import Study
from milepost.report.comparison.tables import (
    TextTable,
    figures_table,
    headline,
    models_table,
    overview_table,
    uncounted,
)
from milepost.report.wide import BETWEEN_COLUMNS, columns_in_parts
from milepost.safe_text import printable

_LESS = ("metric", "relative", "p")
"""Columns that only the files have: a terminal is narrow."""
_MOST_LEFT_OUT = 4
"""Lines; the report has them all."""
_STYLES = {"worse": "red", "better": "green", "different": "yellow"}


def print_comparison(study: Study, console: Console) -> None:
    """Print the models, then every variant's tasks with their verdicts."""
    _print(_without(models_table(study), ("path", "not zero", "parameters")), console)
    for line in uncounted(study):
        console.print(Text(line, style="dim"))
    overview = overview_table(study)
    if overview is not None:
        _print(overview, console)
    for variant in study.variants:
        table = figures_table(study.label(variant.model), variant.comparison.tasks)
        if table is not None:
            _print(_without(table, _LESS), console)
    for variant in study.variants:
        console.print(Text(headline(study, variant)))
        for note in variant.comparison.notes:
            console.print(Text(f"  {printable(note)}", style="dim"))
        left_out = variant.comparison.uncompared
        for what, reason in left_out[:_MOST_LEFT_OUT]:
            console.print(Text(f"  not compared: {printable(what)}: {reason}", style="dim"))
        if len(left_out) > _MOST_LEFT_OUT:
            console.print(Text(f"  not compared: {len(left_out) - _MOST_LEFT_OUT} more", style="dim"))


def _without(table: TextTable, names: tuple[str, ...]) -> TextTable:
    kept = [place for place, name in enumerate(table.columns) if name not in names]
    return TextTable(
        title=table.title,
        columns=tuple(table.columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in table.rows),
        verdicts=table.verdicts,
        note=table.note,
    )


def _print(table: TextTable, console: Console) -> None:
    """In several parts, one below the other, where the window is narrower than the table."""
    widths = [
        max(cell_len(cell) for cell in (name, *(row[place] for row in table.rows)))
        for place, name in enumerate(table.columns)
    ]
    parts = columns_in_parts(widths, console.width)
    for number, part in enumerate(parts, start=1):
        which = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        made = Table(
            title=Text(table.title + which, style="bold"),
            title_justify="left",
            box=SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
        )
        for place in part:
            justify: Literal["left", "right"] = "right" if place else "left"
            made.add_column(
                Text(table.columns[place]), justify=justify, no_wrap=True, min_width=widths[place]
            )
        verdicts = table.verdicts or [None] * len(table.rows)
        for row, verdict in zip(table.rows, verdicts, strict=True):
            made.add_row(*(Text(row[place]) for place in part), style=_STYLES.get(verdict or "", ""))
        # A column that is wider than the window runs over its edge: cut figures would mislead.
        width = sum(widths[place] + BETWEEN_COLUMNS for place in part)
        console.print(made, crop=False, width=max(console.width, width))
        console.print()
