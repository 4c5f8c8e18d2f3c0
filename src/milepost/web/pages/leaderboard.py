"""Leaderboard: the series of the folder and published models, ranked over all tasks at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypedDict

from milepost.analysis.leaderboard import At
from milepost.report.blocks import Controls, Details, Field, Note, Option
from milepost.report.leaderboard import leaderboard_record, leaderboard_report
from milepost.results.leaderboard import leaderboard_of
from milepost.text.language import _, ngettext
from milepost.text.safe_text import printable
from milepost.web.choices import any_of
from milepost.web.page import Page, PageKind, Parameter, View
from milepost.web.query import BadQuery, Query

HIGHEST_STEP = 10**12
FEW_NOTES = 4
"""More are shown when the reader opens them."""


class LeaderboardData(TypedDict):
    """The ranking as `milepost leaderboard --json` gives it."""

    at: str
    columns: list[dict[str, Any]]
    models: list[dict[str, Any]]
    notes: list[str]


def leaderboard(view: View, query: Query) -> Page:
    """Return the ranking."""
    at = query.text("at", "last")
    title = _("Leaderboard")
    if not view.index.scored:
        nothing = LeaderboardData(at=at, columns=[], models=[], notes=[])
        return Page(title=title, blocks=(Note(_("Nothing is measured yet.")),), data=nothing)
    board = leaderboard_of(
        {view.index.folder.path: view.index},
        baselines=view.baselines,
        tasks=query.texts("task"),
        metrics=query.texts("metric"),
        exclude=query.texts("exclude"),
        at=_at(at),
    )
    record = leaderboard_record(board)
    blocks = leaderboard_report(replace(board, notes=()))
    if board.notes:
        notes = tuple(Note(printable(note)) for note in board.notes)
        summary = ngettext("{n} note", "{n} notes", len(notes))
        blocks += notes if len(notes) <= FEW_NOTES else [Details(summary, notes)]
    return Page(
        title=title,
        blocks=(_controls(view, query, at), *blocks),
        data=LeaderboardData(
            at=at, columns=record["columns"], models=record["models"], notes=record["notes"]
        ),
    )


def _at(text: str) -> At:
    if text == "best":
        return "best"
    if text == "last":
        return "last"
    if text.isascii() and text.isdecimal() and int(text) <= HIGHEST_STEP:
        return int(text)
    raise BadQuery("at must be best, last or a step")


def _controls(view: View, query: Query, at: str) -> Controls:
    steps = {each.step for each in view.index.checkpoints() if each.step is not None}
    names = [("last", _("the last of each")), ("best", _("the best of each"))]
    names += [(str(step), _("step {step}", step=step)) for step in sorted(steps, reverse=True)]
    tasks = {each.task: None for each in view.index.tasks(())}
    return Controls(
        (
            Field("at", _("Checkpoint"), "one", tuple(Option(*each) for each in names), (at,)),
            any_of("task", _("Tasks"), tasks, query.texts("task")),
        ),
        _("What is ranked"),
    )


PAGE = PageKind(
    name="leaderboard",
    label="Leaderboard",
    about="One checkpoint of each series, and published models, ranked over all tasks.",
    make=leaderboard,
    data=LeaderboardData,
    parameters=(
        Parameter(name="at", about="best, last or a step.", pattern="^(best|last|[0-9]{1,12})$"),
        Parameter(name="task", about="A task, a group or a pattern.", repeats=True),
        Parameter(name="metric", about="A metric, task.metric or a pattern.", repeats=True),
        Parameter(name="exclude", about="A task, task.metric or series to leave out.", repeats=True),
    ),
)
