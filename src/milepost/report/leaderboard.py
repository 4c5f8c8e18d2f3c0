"""The table of `milepost leaderboard`: a model per row, its summaries, then its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from milepost.analysis.leaderboard import BoardColumn, Leaderboard, Standing
from milepost.analysis.leaderboard.board import Summary
from milepost.report.blocks import Block, Note
from milepost.report.csv_text import csv_text
from milepost.report.formatting import NOT_MEASURED, direction_arrow, metric_heading, number
from milepost.report.html import page
from milepost.report.json_text import json_text
from milepost.report.markdown import markdown
from milepost.report.table import Column, Table, cells, data_table
from milepost.text.language import Phrase, joined
from milepost.text.safe_text import printable

SUMMARIES = (
    (Phrase("win rate"), "win_rate", True),
    (Phrase("rank"), "rank", False),
    (Phrase("normalised"), "normalised", True),
    (Phrase("min-max sum"), "min_max", True),
)
"""Heading, name in a `Standing`, whether higher is better."""

EXPLANATION = Phrase(
    "win rate: share of the other models beaten, averaged over the metrics (HELM); rank: mean place; "
    "normalised: 0 is guessing, 1 is perfect; min-max sum: each metric from the worst (0) to the best model "
    "(1), summed. [ ] are 95 % by drawing the docs anew; published values stand still."
)


def leaderboard_report(board: Leaderboard) -> list[Block]:
    """Return the table and its notes."""
    return [
        leaderboard_table(board),
        "",
        Note(EXPLANATION),
        *(Note(printable(note)) for note in board.notes),
    ]


def leaderboard_table(board: Leaderboard) -> Table:
    """Return one row per model, the best first."""
    return Table(
        (
            Column("model", Phrase("model\ncheckpoint"), align="left"),
            *(Column(name, joined("\n", (name, direction_arrow(better)))) for name, _, better in SUMMARIES),
            *(
                Column(
                    _key(column),
                    joined(
                        "\n",
                        (printable(column.task), metric_heading(column.metric, column.filter, better)),
                    ),
                )
                for column, better in zip(board.columns, board.higher_is_better, strict=True)
            ),
        ),
        tuple(cells(_texts(standing, board.columns)) for standing in board.standings),
    )


def as_markdown(board: Leaderboard) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    return markdown(leaderboard_report(board))


def as_html(board: Leaderboard) -> str:
    """Return the report as one HTML page."""
    return page(Phrase("Leaderboard"), leaderboard_report(board))


def as_csv(board: Leaderboard) -> str:
    """Return a line per model, unrounded; the ends of intervals are columns too, unknown values are empty."""
    records = [_flat(standing, board.columns) for standing in board.standings]
    return csv_text(data_table(records, list(records[0])))


def as_json(board: Leaderboard) -> str:
    """Return `leaderboard_record` as text."""
    return json_text(leaderboard_record(board))


def leaderboard_record(board: Leaderboard) -> dict[str, Any]:
    """Return an object with `columns`, `models` (best first) and `notes`."""
    columns = [
        {**column._asdict(), "higher_is_better": better}
        for column, better in zip(board.columns, board.higher_is_better, strict=True)
    ]
    models = [_record(standing, board.columns) for standing in board.standings]
    return {"columns": columns, "models": models, "notes": list(board.notes)}


def _texts(standing: Standing, columns: Sequence[BoardColumn]) -> list[str]:
    name = printable(standing.name)
    where = printable(standing.checkpoint) if standing.checkpoint else Phrase("published")
    return [
        name if standing.checkpoint == standing.name else Phrase("{name} ({where})", name=name, where=where),
        *(_summary(getattr(standing, key)) for _, key, _ in SUMMARIES),
        *(
            NOT_MEASURED if score is None else number(score, column.metric)
            for score, column in zip(standing.scores, columns, strict=True)
        ),
    ]


def _summary(summary: Summary) -> str:
    if summary.value is None:
        return NOT_MEASURED
    if summary.interval.low is None:
        return f"{summary.value:.3f}"
    return f"{summary.value:.3f} [{summary.interval.low:.3f}, {summary.interval.high:.3f}]"


def _key(column: BoardColumn) -> str:
    return f"{column.task}.{column.metric}"


def _known(standing: Standing) -> dict[str, Any]:
    return {
        "name": standing.name,
        "checkpoint": standing.checkpoint,
        "step": standing.step,
        "source": standing.source,
    }


def _scores(standing: Standing, columns: Sequence[BoardColumn]) -> dict[str, float | None]:
    return {_key(column): score for column, score in zip(columns, standing.scores, strict=True)}


def _ends(summary: Summary) -> dict[str, float | None]:
    return {"value": summary.value, "ci_low": summary.interval.low, "ci_high": summary.interval.high}


def _record(standing: Standing, columns: Sequence[BoardColumn]) -> dict[str, Any]:
    summaries = {key: _ends(getattr(standing, key)) for _, key, _ in SUMMARIES}
    return {**_known(standing), **summaries, "scores": _scores(standing, columns)}


def _flat(standing: Standing, columns: Sequence[BoardColumn]) -> dict[str, Any]:
    summaries = {
        key if name == "value" else f"{key}_{name}": value
        for _, key, _ in SUMMARIES
        for name, value in _ends(getattr(standing, key)).items()
    }
    return {**_known(standing), **summaries, **_scores(standing, columns)}
