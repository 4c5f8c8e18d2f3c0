"""The blocks that a report is composed of; `terminal`, `markdown` and `html` render them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from milepost.report.table import Cell, Table


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of what follows; level 2 is the largest below a page's own title, or a section's."""

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
    """A Vega-Lite spec with the words and the table for readers who do not see it."""

    spec: dict[str, Any]
    label: str
    """What a screen reader says: the subject of the chart, not its values."""
    caption: str = ""
    """Metric, interval and number of docs."""
    table: Table | None = None
    """The values that are drawn."""
    title: str = ""
    """Above the chart; empty where the page's own heading says it."""
    about: str = ""
    """Beside the title: a metric, a unit."""


Mood = Literal["", "good", "bad", "waiting", "still"]
"""Whether a verdict is good news, bad news, no news yet, or that nothing moves."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement in a few words; its mood has a sign and a colour."""

    text: str
    mood: Mood = ""


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A curve in the size of a line of text, without axes; a value that is None breaks it."""

    label: str
    values: tuple[float | None, ...]
    lows: tuple[float | None, ...] = ()
    highs: tuple[float | None, ...] = ()
    """Ends of the intervals; empty without intervals."""
    places: tuple[float, ...] = ()
    """Horizontal positions of the values; empty for even distances."""
    level: float | None = None
    """A line across: chance."""


@dataclass(frozen=True, slots=True)
class Card:
    """One thing at a glance: its name, one large figure, a curve, a verdict and a few facts."""

    title: str
    figure: str
    about: str = ""
    """Beside the title: a metric, a unit."""
    beside: str = ""
    """After the figure and smaller: its interval."""
    sparkline: Sparkline | None = None
    verdict: Verdict | None = None
    facts: tuple[tuple[str, str], ...] = ()
    href: str = ""
    """Address of the page with more about it; empty for none."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A count, large, over its name."""

    name: str
    figure: str
    beside: str = ""
    """After the figure and smaller: of how many."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Counts side by side."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """Blocks side by side, as many as the width has room for."""

    blocks: tuple[Block, ...]
    size: Literal["inline", "medium", "large"] = "medium"


@dataclass(frozen=True, slots=True)
class Progress:
    """A bar that says how much of a work is done."""

    label: str
    done: int
    total: int
    note: str = ""
    """Time left."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the choices of a question."""

    name: str
    """A, B, ..."""
    text: str
    is_right: bool = False
    note: str = ""
    """A probability, who picked it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A doc as people read it: what was asked, the choices, and what became of it."""

    title: str
    prompt: str
    choices: tuple[Choice, ...] = ()
    blocks: tuple[Block, ...] = ()
    """More of it, such as what each model answered."""
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """A value that a reader can choose, and its name."""

    value: str
    text: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that the reader of a served page can choose; its value stands in the address."""

    name: str
    label: str
    kind: Literal["one", "several", "switch", "text", "hidden"]
    """`one` and `switch` choose one of the options (a list, buttons), `several` any number of them."""
    options: tuple[Option, ...] = ()
    chosen: tuple[str, ...] = ()
    """Values of the options; for a `text`, the text itself."""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Controls:
    """A form with the choices of a served page; left out where nobody serves it."""

    fields: tuple[Field, ...]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    """Links side by side, such as the pages before and after; the chosen one has no address."""

    items: tuple[tuple[str, str], ...]
    """Texts with addresses."""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks that are hidden until the reader opens them, where the output format can do that."""

    summary: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page that a link can name."""

    name: str
    """Letters, digits and dashes."""
    title: str
    blocks: tuple[Block, ...]


Block = (
    Table
    | Heading
    | Note
    | Line
    | Bullets
    | Quote
    | Facts
    | Chart
    | Verdict
    | Sparkline
    | Card
    | Tiles
    | Grid
    | Progress
    | Question
    | Controls
    | Links
    | Details
    | Section
    | str
)
"""A part of a report; a text is a paragraph, an empty one an empty line."""


def strong(text: str) -> Line:
    """Return a line in bold."""
    return Line((Cell(text, "strong"),))


def has_charts(blocks: Iterable[Block]) -> bool:
    """Return whether there is a chart among the blocks, or among the blocks that they hold."""
    return any(
        isinstance(block, Chart)
        or (isinstance(block, Details | Section | Grid | Question) and has_charts(block.blocks))
        for block in blocks
    )
