"""Render blocks for a terminal: a table that is wider than the window continues below, in parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from milepost.report.blocks import Block, Bullets, Details, Facts, Heading, Line, Note, Quote
from milepost.report.table import VERDICT_TONES, Cell, CellRow, Column, Table, Tone

BETWEEN_COLUMNS = 3
"""Characters that SIMPLE_HEAD and its padding leave between two columns."""
WRAPPED_WIDTH = 24
"""Characters that a column that may wrap keeps at least, if its cells are that long."""
_STYLES: dict[Tone, str] = {
    "": "",
    "best": "bold",
    "strong": "bold",
    "right": "bold green",
    "faint": "dim",
    "worse": "red",
    "better": "green",
    "different": "yellow",
    "problem": "red",
}


@dataclass(frozen=True, slots=True)
class Printed:
    """The blocks of a report as Rich prints them, at the width of the console that prints them."""

    blocks: Sequence[Block]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the blocks; tables are cut into parts."""
        for block in self.blocks:
            if isinstance(block, Table):
                yield from _parts(block, console, options)
            else:
                yield from _texts(block)


def print_blocks(blocks: Iterable[Block], console: Console) -> None:
    """Print the blocks; a column that is wider than the console runs over its edge."""
    console.print(Printed(list(blocks)), crop=False)


def columns_in_parts(widths: Sequence[int], width: int) -> list[list[int]]:
    """Return the places of the columns that fit side by side, in order; each part begins with column 0."""
    parts = [[0]]
    for place in range(1, len(widths)):
        used = sum(widths[other] + BETWEEN_COLUMNS for other in parts[-1])
        if len(parts[-1]) > 1 and used + widths[place] > width:
            parts.append([0])
        parts[-1].append(place)
    return parts


def _texts(block: Block) -> Iterator[RenderableType]:
    if isinstance(block, Note):
        yield Text(block.text, style="dim")
    elif isinstance(block, Line):
        text = Text(no_wrap=True, overflow="ignore")
        for cell in block.cells:
            text.append(cell.text, _STYLES[cell.tone])
        yield text
    elif isinstance(block, Heading):
        yield Text(block.text, style="bold")
    elif isinstance(block, Bullets):
        yield from (Text(f"- {item}") for item in block.items)
    elif isinstance(block, Facts):
        yield from (Text(f"{name}: {value}") for name, value in block.pairs)
    elif isinstance(block, Details):
        yield Text(block.summary, style="bold")
        yield Printed(block.blocks)
    elif isinstance(block, Quote | str):
        yield Text(block if isinstance(block, str) else block.text)


def _parts(table: Table, console: Console, options: ConsoleOptions) -> RenderResult:
    widths = [_width(column, place, table) for place, column in enumerate(table.columns)]
    parts = columns_in_parts(widths, options.max_width)
    for number, places in enumerate(parts, start=1):
        which = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        part = _rich_table(table.with_columns(places), [widths[place] for place in places], which)
        needed = sum(widths[place] + BETWEEN_COLUMNS for place in places)
        # Rich would shorten a table that is wider than its console.
        yield from console.render(part, options.update_width(max(options.max_width, needed)))
        if number < len(parts):
            yield Text()
    yield from (Text(note, style="dim") for note in table.notes)


def _width(column: Column, place: int, table: Table) -> int:
    texts = [row[place].text for row in (*table.rows, *table.footer)]
    if column.wraps:
        return min(WRAPPED_WIDTH, max(map(cell_len, texts), default=0))
    return max(map(cell_len, (*column.lines, *texts)))


def _rich_table(table: Table, widths: Sequence[int], which: str) -> RichTable:
    rich_table = RichTable(
        title=Text(table.title + which, style="bold") if table.title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for column, width in zip(table.columns, widths, strict=True):
        rich_table.add_column(
            Text("\n".join(column.lines)),
            justify=column.align,
            no_wrap=not column.wraps,
            overflow="fold",
            min_width=width,
        )
    for row in table.rows:
        rich_table.add_row(*map(_text, row), style=_row_style(row))
    if table.footer:
        rich_table.add_section()
    for row in table.footer:
        rich_table.add_row(*map(_text, row), style="dim")
    return rich_table


def _row_style(row: CellRow) -> str:
    """Return the colour of a row: that of the verdict in it, as the verdict may stand in another part."""
    return next((_STYLES[cell.tone] for cell in row if cell.tone in VERDICT_TONES), "")


def _text(cell: Cell) -> Text:
    return Text(cell.text, style=_STYLES[cell.tone])
