"""The blocks that a report is composed of; `terminal`, `markdown` and `html` render them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from milepost.report.table import Cell, Table


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a section; level 2 is the largest below a page's own title."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Note:
    """A line that explains what stands beside it: smaller, or in grey."""

    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of texts with tones, one after the other; a terminal does not break it."""

    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list without order."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """A text of someone else, of one or several lines."""

    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with their values."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A Vega-Lite spec, and the words for readers who do not see it."""

    spec: dict[str, Any]
    label: str


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks that are hidden until the reader opens them, where the output format can do that."""

    summary: str
    blocks: tuple[Block, ...]


Block = Table | Heading | Note | Line | Bullets | Quote | Facts | Chart | Details | str
"""A part of a report; a text is a paragraph, an empty one an empty line."""


def strong(text: str) -> Line:
    """Return a line in bold."""
    return Line((Cell(text, "strong"),))


def charts_in(blocks: Iterable[Block]) -> list[Chart]:
    """Return the charts among the blocks, also those inside details, in their order."""
    found: list[Chart] = []
    for block in blocks:
        if isinstance(block, Chart):
            found.append(block)
        elif isinstance(block, Details):
            found += charts_in(block.blocks)
    return found
