"""Tables that may be wider than the window: in parts on a terminal, in whole lines for a pipe or a file."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

BETWEEN_COLUMNS = 3
"""Cells that SIMPLE_HEAD and its padding leave between two columns."""


@dataclass(frozen=True, slots=True)
class Wide:
    """A table whose numbers are never shortened: where the window is too narrow, columns go on below, each
    part with the first column again. A column that is wider than the window runs over its edge."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        every = list(range(len(self.table.columns)))
        parts = _parts(console, self.table, options.max_width) if console.is_terminal else [every]
        for number, part in enumerate(parts, start=1):
            shown = self.table if len(parts) == 1 else _part(self.table, part, f" ({number} of {len(parts)})")
            needed = shown.__rich_measure__(console, options.update_width(10_000)).maximum
            yield from console.render(shown, options.update_width(max(options.max_width, needed)))
            if number < len(parts):
                yield Text()


def columns_in_parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """Places of the columns that fit side by side, in their order; the first one is in every part."""
    parts = [[0]]
    for place in range(1, len(widths)):
        used = sum(widths[one] + BETWEEN_COLUMNS for one in parts[-1])
        if len(parts[-1]) > 1 and used + widths[place] > room:
            parts.append([0])
        parts[-1].append(place)
    return parts


def _parts(console: Console, table: Table, room: int) -> list[list[int]]:
    return columns_in_parts([_width(console, table, place) for place in range(len(table.columns))], room)


def _width(console: Console, table: Table, place: int) -> int:
    column = table.columns[place]
    return max(console.measure(cell).maximum for cell in (column.header, *column.cells))


def _part(table: Table, places: Sequence[int], which: str) -> Table:
    part = copy.copy(table)
    part.columns = [
        dataclasses.replace(table.columns[place], _index=index) for index, place in enumerate(places)
    ]
    if isinstance(table.title, Text):
        part.title = table.title.copy().append(which)
    return part
