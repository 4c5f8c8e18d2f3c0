"""Tables as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from milepost.analysis.row import Row
from milepost.report.scores import Cell, Column, Grid, grids, legend

_SPECIAL = re.compile(r"([\\`*_|<>\[\]])")


def markdown(rows: Sequence[Row]) -> str:
    """One table per series under its name, the best of each column in bold with a star."""
    tables = grids(rows)
    return "\n\n".join([*(_table(grid) for grid in tables), escaped(legend(tables))]).rstrip() + "\n"


def _table(grid: Grid) -> str:
    lines = [
        ["step", *(_heading(column) for column in grid.columns)],
        ["---:"] * (len(grid.columns) + 1),
        *([step, *(_marked(column.cells[i]) for column in grid.columns)] for i, step in _steps(grid)),
    ]
    if grid.has_chance:
        lines.append(["chance", *(column.chance for column in grid.columns)])
    if grid.has_constant:
        lines.append(["constant", *(column.constant for column in grid.columns)])
    lines.append(["docs", *(column.docs for column in grid.columns)])
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"**{escaped(grid.series)}**\n\n{body}"


def _steps(grid: Grid) -> list[tuple[int, str]]:
    return [(i, escaped(step)) for i, step in enumerate(grid.steps)]


def _heading(column: Column) -> str:
    return f"{escaped(column.task)}<br>{escaped(column.metric)}"


def _marked(cell: Cell) -> str:
    return rf"**\* {cell.text}**" if cell.best else cell.text


def escaped(text: str) -> str:
    """The text so that Markdown and the HTML in it show it as it is."""
    return _SPECIAL.sub(r"\\\1", text)
