"""The leaderboard as text cells, and as terminal table, Markdown, CSV, HTML and JSON made from them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from milepost.analysis.leaderboard import BoardColumn, Leaderboard, Standing
from milepost.analysis.leaderboard.board import Summary
from milepost.report.formatting import NOT_MEASURED, direction_arrow, number
from milepost.report.markdown import escaped
from milepost.report.page import template
from milepost.report.scores import figure_name
from milepost.report.wide import Wide
from milepost.safe_text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

SUMMARIES = (
    ("win rate", "win_rate", True),
    ("rank", "rank", False),
    ("normalised", "normalised", True),
    ("min-max sum", "min_max", True),
)
"""Heading, name in a `Standing`, whether higher is better."""

EXPLANATION = (
    "win rate: share of the other models beaten, averaged over the figures (HELM); rank: mean place; "
    "normalised: 0 is guessing, 1 is perfect; min-max sum: each figure from the worst (0) to the best model "
    "(1), summed. [ ] are 95 % by drawing the docs anew; published figures stand still."
)


@dataclass(frozen=True, slots=True)
class Heading:
    """Of a column: a name and what is below it."""

    name: str
    below: str


@dataclass(frozen=True, slots=True)
class TextTable:
    """The leaderboard as text: a model per line, its summaries, then its figures."""

    headings: tuple[Heading, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def text_table(board: Leaderboard) -> TextTable:
    """Every cell as text; names are printable, nothing is escaped for a format yet."""
    headings = [Heading("model", "checkpoint")]
    headings += [Heading(name, direction_arrow(better)) for name, _, better in SUMMARIES]
    headings += [
        Heading(
            printable(column.task),
            f"{figure_name(column.metric, column.filter)} {direction_arrow(better)}",
        )
        for column, better in zip(board.columns, board.higher_is_better, strict=True)
    ]
    return TextTable(
        headings=tuple(headings),
        lines=tuple(_line(standing, board.columns) for standing in board.standings),
        notes=(EXPLANATION, *(printable(note) for note in board.notes)),
    )


def terminal(board: Leaderboard) -> RenderableType:
    """A Rich table and its notes."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    text = text_table(board)
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, heading in enumerate(text.headings):
        made.add_column(
            Text(f"{heading.name}\n{heading.below}"), justify="right" if place else "left", no_wrap=place > 0
        )
    for line in text.lines:
        made.add_row(*(Text(cell) for cell in line))
    return Group(Wide(made), Text(), *(Text(note, style="dim") for note in text.notes))


def markdown(board: Leaderboard) -> str:
    """GitHub-flavoured Markdown."""
    text = text_table(board)
    head = [f"{escaped(one.name)}<br>{escaped(one.below)}" for one in text.headings]
    rule = [":---", *["---:"] * (len(head) - 1)]
    body = [head, rule, *([escaped(cell) for cell in line] for line in text.lines)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in body)
    return "\n\n".join([table, *(escaped(note) for note in text.notes)]) + "\n"


def as_csv(board: Leaderboard) -> str:
    """A line per model, unrounded; an interval's ends are columns too, what is not known is empty."""
    records = [_flat(standing, board.columns) for standing in board.standings]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def as_json(board: Leaderboard) -> str:
    """An object with `columns`, `models` (best first) and `notes`."""
    columns = [
        {**asdict(column), "higher_is_better": better}
        for column, better in zip(board.columns, board.higher_is_better, strict=True)
    ]
    models = [_record(standing, board.columns) for standing in board.standings]
    whole = {"columns": columns, "models": models, "notes": list(board.notes)}
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)


def page(board: Leaderboard) -> str:
    """One HTML page; nothing is fetched, all foreign text is escaped."""
    return template("leaderboard.html.j2").render(table=text_table(board))


def _line(standing: Standing, columns: Sequence[BoardColumn]) -> tuple[str, ...]:
    name = printable(standing.name)
    where = printable(standing.checkpoint) if standing.checkpoint else "published"
    scores = (
        NOT_MEASURED if score is None else number(score, column.metric)
        for score, column in zip(standing.scores, columns, strict=True)
    )
    summaries = (_summary(getattr(standing, key)) for _, key, _ in SUMMARIES)
    return (name if standing.checkpoint == standing.name else f"{name} ({where})", *summaries, *scores)


def _summary(summary: Summary) -> str:
    if summary.value is None:
        return NOT_MEASURED
    if summary.interval.low is None:
        return f"{summary.value:.3f}"
    return f"{summary.value:.3f} [{summary.interval.low:.3f}, {summary.interval.high:.3f}]"


def _record(standing: Standing, columns: Sequence[BoardColumn]) -> dict[str, Any]:
    return {
        "name": standing.name,
        "checkpoint": standing.checkpoint,
        "step": standing.step,
        "source": standing.source,
        **{
            key: {
                "value": (summary := getattr(standing, key)).value,
                "ci_low": summary.interval.low,
                "ci_high": summary.interval.high,
            }
            for _, key, _ in SUMMARIES
        },
        "scores": {
            f"{column.task}.{column.metric}": score
            for column, score in zip(columns, standing.scores, strict=True)
        },
    }


def _flat(standing: Standing, columns: Sequence[BoardColumn]) -> dict[str, Any]:
    record = _record(standing, columns)
    scores = record.pop("scores")
    summaries: dict[str, Any] = {}
    for _, key, _ in SUMMARIES:
        parts = record.pop(key)
        summaries |= {
            key: parts["value"],
            f"{key}_ci_low": parts["ci_low"],
            f"{key}_ci_high": parts["ci_high"],
        }
    return {**record, **summaries, **scores}
