"""A table as a value: columns, rows of text cells, title and notes; it knows no output format.

`terminal`, `markdown`, `csv_text` and `html` render it, so every output of a table says the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Tone = Literal["", "best", "worse", "better", "different", "problem", "strong", "right", "faint"]
"""The reason why a text stands out; each output format has its own way to show it."""
VERDICT_TONES: tuple[Tone, ...] = ("worse", "better", "different")

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    """The name in the data, and the heading where no other is given."""
    heading: str = ""
    """One or two lines."""
    align: Literal["left", "right"] = "right"
    wraps: bool = False
    """A narrow terminal may break its cells at spaces; the cells of other columns are never broken."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of the heading."""
        return tuple((self.heading or self.name).split("\n"))


@dataclass(frozen=True, slots=True)
class Cell:
    """A text with a tone."""

    text: str
    tone: Tone = ""
    href: str = ""
    """Address of the link that a page makes of the cell; empty for none."""


CellRow = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under columns; every row has one cell per column."""

    columns: tuple[Column, ...]
    rows: tuple[CellRow, ...]
    title: str = ""
    footer: tuple[CellRow, ...] = ()
    """Rows below a line: levels to compare with, totals."""
    notes: tuple[str, ...] = ()

    def without(self, names: Collection[str]) -> Table:
        """Return the table without the columns of these names."""
        kept = [place for place, column in enumerate(self.columns) if column.name not in names]
        return self.with_columns(kept)

    def with_columns(self, places: Sequence[int]) -> Table:
        """Return the table with the columns at these places, in their order."""

        def cut(rows: tuple[CellRow, ...]) -> tuple[CellRow, ...]:
            return tuple(tuple(row[place] for place in places) for row in rows)

        columns = tuple(self.columns[place] for place in places)
        return dataclasses.replace(self, columns=columns, rows=cut(self.rows), footer=cut(self.footer))


def cells(texts: Iterable[str | Cell]) -> CellRow:
    """Return a row; plain texts become cells without a tone."""
    return tuple(text if isinstance(text, Cell) else Cell(text) for text in texts)


def columns(
    *names: str, left: Collection[str] = (), wraps: Collection[str] = (), headings: Mapping[str, str] = {}
) -> tuple[Column, ...]:
    """Return columns of these names, aligned to the right except those in `left` and `wraps`."""
    return tuple(
        Column(
            name,
            headings.get(name, ""),
            align="left" if name in left or name in wraps else "right",
            wraps=name in wraps,
        )
        for name in names
    )


def data_table(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """Return a table of unrounded values for programs; None becomes an empty cell."""
    return Table(
        columns(*names),
        tuple(
            cells("" if record[name] is None else str(record[name]) for name in names) for record in records
        ),
    )


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Return the items by their key, keys and items in the order in which they come."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
