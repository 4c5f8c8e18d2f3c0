"""Tables for the terminal, wrapped into several where one is wider than the window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from milepost.analysis.row import Row
from milepost.report.notes import reason_notes
from milepost.report.scores import Cell, Column, Grid, grids, legend
from milepost.report.wide import BETWEEN_COLUMNS


def table(rows: Sequence[Row], *, width: int = 120) -> list[Table]:
    """The rows as Rich tables: per series one, or several side after side where `width` is too small.

    A column is never cut: one that is wider than `width` gets a table of its own.

    Args:
        rows: what to show, every row of it; see `milepost.analysis.selection.summary_rows`.
        width: cells per line.
    """
    return [part for grid in grids(rows) for part in _tables(grid, width)]


@dataclass(frozen=True, slots=True)
class TableView:
    """The tables of `table` at the width of whatever console prints them, and how to read them."""

    rows: Sequence[Row]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in table(self.rows, width=options.max_width):
            # Rich would shorten what is wider than its console.
            yield from console.render(part, options.update_width(max(options.max_width, _total_width(part))))
            yield Text()
        yield Text(legend(grids(self.rows)), style="dim")
        for note in reason_notes(self.rows):
            yield Text(f"note: {note}", style="dim")


def print_table(rows: Sequence[Row], console: Console) -> None:
    """Print a `TableView`; a column that is wider than the console runs over its edge."""
    console.print(TableView(rows), crop=False)


def _tables(grid: Grid, width: int) -> list[Table]:
    parts = _fitting(grid, width)
    return [
        _table(grid, columns, f" ({i} of {len(parts)})" if len(parts) > 1 else "")
        for i, columns in enumerate(parts, start=1)
    ]


def _fitting(grid: Grid, width: int) -> list[list[Column]]:
    """Columns in their order, cut into runs that fit beside the steps."""
    room = width - _width_of_steps(grid)
    parts: list[list[Column]] = [[]]
    left = room
    for column in grid.columns:
        needed = _width(column) + BETWEEN_COLUMNS
        if parts[-1] and needed > left:
            parts.append([])
            left = room
        parts[-1].append(column)
        left -= needed
    return parts


def _total_width(part: Table) -> int:
    return sum((column.width or 0) + BETWEEN_COLUMNS for column in part.columns)


def _width_of_steps(grid: Grid) -> int:
    return max(cell_len(label) for label in (*grid.steps, "chance", "constant" if grid.has_constant else ""))


def _width(column: Column) -> int:
    texts = (column.task, column.metric, column.chance, column.constant, column.docs)
    return max(cell_len(text) for text in (*texts, *(_marked(cell).plain for cell in column.cells)))


def _table(grid: Grid, columns: list[Column], part: str) -> Table:
    made = Table(
        title=Text(grid.series + part, style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    made.add_column("step", justify="right", no_wrap=True, width=_width_of_steps(grid))
    for column in columns:
        made.add_column(
            Text(f"{column.task}\n{column.metric}"), justify="right", no_wrap=True, width=_width(column)
        )
    for i, step in enumerate(grid.steps):
        made.add_row(Text(step), *(_marked(column.cells[i]) for column in columns))
    made.add_section()
    if any(column.chance for column in columns):
        made.add_row("chance", *(Text(column.chance) for column in columns), style="dim")
    if any(column.constant for column in columns):
        made.add_row("constant", *(Text(column.constant) for column in columns), style="dim")
    made.add_row("docs", *(Text(column.docs) for column in columns), style="dim")
    return made


def _marked(cell: Cell) -> Text:
    return Text(f"* {cell.text}", style="bold") if cell.best else Text(cell.text)
