"""Render blocks for a terminal or a pipe, by one rule for every table.

A table that fits is printed as it is. In a narrower window headings and the cells of columns that may wrap
are broken at spaces, never inside words, and long names such as `commonsense:dataset=hellaswag,method=...`
after their colons and commas; what still does not fit side by side continues below, in parts that begin with
the first column again. No line ends with spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment, Segments
from rich.table import Table as RichTable
from rich.text import Text

from milepost.report.blocks import Block, Bullets, Details, Facts, Heading, Line, Note, Quote
from milepost.report.table import VERDICT_TONES, CellRow, Column, Table, Tone
from milepost.text.language import _

BETWEEN_COLUMNS = 3
"""Characters that SIMPLE_HEAD and its padding leave between two columns."""
WRAPPED_WIDTH = 24
"""Characters that a column that may wrap, and a name without spaces, keep at least, if they are that long."""
_INSIDE_NAME = re.compile(r"(?<=[:,])(?=[^\W\d_])")
"""Where a long name may be broken; never inside a number or a time."""
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
    """Print the blocks; a word that is wider than the console runs over its edge."""
    lines = Segment.split_lines(console.render(Printed(list(blocks))))
    segments = [segment for line in lines for segment in (*_without_trailing_spaces(line), Segment.line())]
    console.print(Segments(segments), end="", crop=False)


def broken(text: str, width: int) -> list[str]:
    """Return the text in lines of at most `width` cells, broken at spaces.

    A longer word is broken after its colons and commas, and what is longer still has its own line.
    """
    if cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    for word in text.split(" "):
        between = " "
        for piece in [word] if cell_len(word) <= width else _INSIDE_NAME.split(word):
            if lines and cell_len(lines[-1]) + len(between) + cell_len(piece) <= width:
                lines[-1] += between + piece
            else:
                lines.append(piece)
            between = ""
    return lines


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
    room = options.max_width
    natural = [_natural_width(column, place, table) for place, column in enumerate(table.columns)]
    least = natural
    if _sum(natural) > room:
        least = [_least_width(column, place, table) for place, column in enumerate(table.columns)]
    parts = columns_in_parts(least, room)
    for number, places in enumerate(parts, start=1):
        which = _(" ({number} of {n})", number=number, n=len(parts)) if len(parts) > 1 else ""
        widths = _shared(places, least, natural, room)
        if table.title:
            yield Text("\n".join(broken(table.title + which, room)), style="bold")
        part = _rich_table(table.with_columns(places), widths)
        # Rich would shorten a table that is wider than its console.
        yield from console.render(part, options.update_width(max(room, _sum(widths))))
        if number < len(parts):
            yield Text()
    yield from (Text(note, style="dim") for note in table.notes)


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + BETWEEN_COLUMNS * (len(widths) - 1)


def _natural_width(column: Column, place: int, table: Table) -> int:
    return max(map(cell_len, (*column.lines, *_cell_texts(place, table))))


def _least_width(column: Column, place: int, table: Table) -> int:
    """Return the width below which a word, or a cell that must not wrap, would be cut."""
    heading = max(map(_longest_word, column.lines), default=0)
    texts = _cell_texts(place, table)
    longest = max(map(cell_len, texts), default=0)
    if column.wraps:
        longest = max(*map(_longest_word, texts), min(longest, WRAPPED_WIDTH), 0)
    return max(heading, longest)


def _longest_word(text: str) -> int:
    """Return the width of the longest word; a long name counts as the pieces that it can be broken into."""
    return max(cell_len(piece) for word in text.split(" ") for piece in broken(word, WRAPPED_WIDTH))


def _cell_texts(place: int, table: Table) -> list[str]:
    return [row[place].text for row in (*table.rows, *table.footer)]


def _shared(places: Sequence[int], least: Sequence[int], natural: Sequence[int], room: int) -> list[int]:
    """Return the widths of a part's columns: the room that is left goes to those that would be broken."""
    widths = [least[place] for place in places]
    left = room - _sum(widths)
    for i, place in enumerate(places):
        more = max(0, min(left, natural[place] - widths[i]))
        widths[i] += more
        left -= more
    return widths


def _rich_table(table: Table, widths: Sequence[int]) -> RichTable:
    rich_table = RichTable(
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for column, width in zip(table.columns, widths, strict=True):
        lines = [part for line in column.lines for part in broken(line, width)]
        rich_table.add_column(Text("\n".join(lines)), justify=column.align, no_wrap=True, min_width=width)
    for row in table.rows:
        rich_table.add_row(*_texts_of(row, widths), style=_row_style(row))
    if table.footer:
        rich_table.add_section()
    for row in table.footer:
        rich_table.add_row(*_texts_of(row, widths), style="dim")
    return rich_table


def _texts_of(row: CellRow, widths: Sequence[int]) -> Iterator[Text]:
    for cell, width in zip(row, widths, strict=True):
        yield Text("\n".join(broken(cell.text, width)), style=_STYLES[cell.tone])


def _without_trailing_spaces(line: list[Segment]) -> list[Segment]:
    kept = list(line)
    while kept and not kept[-1].text.strip(" "):
        kept.pop()
    if kept:
        kept[-1] = Segment(kept[-1].text.rstrip(" "), kept[-1].style, kept[-1].control)
    return kept


def _row_style(row: CellRow) -> str:
    """Return the colour of a row: that of the verdict in it, as the verdict may stand in another part."""
    return next((_STYLES[cell.tone] for cell in row if cell.tone in VERDICT_TONES), "")
