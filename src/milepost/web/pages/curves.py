"""Curves: chosen series, tasks and metrics over steps or tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from milepost.analysis import Row
from milepost.analysis.curves import Curve
from milepost.analysis.leaderboard.entries import BoardColumn
from milepost.analysis.row import record
from milepost.errors import ResultsError
from milepost.report.blocks import Block, Controls, Field, Note
from milepost.report.charts.remarks import drawable, remarks
from milepost.report.figures import curve_figures
from milepost.report.notes import reason_notes
from milepost.report.transforms import by_tokens
from milepost.results import Selection, select_rows
from milepost.results.baselines import read_baselines
from milepost.text.language import _
from milepost.web.choices import any_of, switch, tasks_of
from milepost.web.page import Page, PageKind, Parameter, View
from milepost.web.query import BadQuery, Query

X = ("step", "tokens")
SCALES = ("linear", "log")
ONE = "([^,=]*=)?[1-9][0-9]{0,14}"
"""A pattern of the tokens per step of one series, or of all."""


class CurvesData(TypedDict):
    """The metrics that the charts show."""

    x: str
    scale: str
    rows: list[dict[str, Any]]


def curves_page(view: View, query: Query) -> Page:
    """Return a chart per task and metric, a line per series."""
    x, scale = query.choice("x", X, "step"), query.choice("scale", SCALES, "linear")
    title = _("Curves")
    if not view.index.scored:
        nothing = CurvesData(x=x, scale=scale, rows=[])
        return Page(title=title, blocks=(Note(_("Nothing is measured yet.")),), data=nothing)
    selection = Selection(
        tasks=query.texts("task"), metrics=query.texts("metric"), series=query.texts("series")
    )
    rows = select_rows(view.index, selection)
    shown = by_tokens(rows, _tokens(query)) if x == "tokens" and query.text("tokens") else rows
    notes = [
        *remarks(drawable(shown, log_x=False), log_x=scale == "log"),
        *reason_notes(rows),
    ]
    if x == "tokens" and not query.text("tokens"):
        notes.insert(0, _("How many tokens does a step read? Until that is said, steps are shown."))
    blocks: list[Block] = [
        _controls(view, query, rows),
        *map(Note, notes),
        *curve_figures(
            shown,
            log_x=scale == "log",
            in_tokens=shown is not rows,
            levels=_levels(view, rows),
        ),
        Note(
            _(
                "Click a point to pin its step in all charts, drag to zoom, double-click to see everything. "
                "With the keyboard: arrows pin a checkpoint, Escape lets go, 0 shows all steps."
            )
        ),
    ]
    data = CurvesData(x=x, scale=scale, rows=[record(row) for row in rows if row.n or row.reason])
    return Page(title=title, blocks=tuple(blocks), data=data)


def _controls(view: View, query: Query, rows: Sequence[Row]) -> Controls:
    every = view.index.metrics(())
    metrics = sorted({name for each in view.index.tasks(()) for name in each.metric_names})
    x, scale = query.text("x") or X[0], query.text("scale") or SCALES[0]
    fields = [
        any_of("series", _("Series"), view.index.series, dict.fromkeys(row.series for row in rows)),
        tasks_of("task", every, dict.fromkeys(row.task for row in rows)),
        any_of("metric", _("Metrics"), metrics, dict.fromkeys(row.metric for row in rows)),
        switch("x", _("By"), {"step": _("steps"), "tokens": _("tokens")}, x),
        switch("scale", _("Scale"), {"linear": _("linear"), "log": _("logarithmic")}, scale),
    ]
    if query.text("x") == "tokens":
        hint = _("65536, or NAME=65536")
        fields.append(
            Field("tokens", _("Tokens per step"), "text", chosen=(query.text("tokens"),), hint=hint)
        )
    return Controls(tuple(fields), _("What the charts show"))


def _tokens(query: Query) -> dict[str, float]:
    """Return tokens per step by series; under "" for those that are not named."""
    found = {}
    for text in query.text("tokens").split(","):
        series, _sign, number = text.strip().rpartition("=")
        try:
            found[series] = float(number.replace("_", ""))
        except ValueError:
            found[series] = 0.0
        if not 0 < found[series] < float("inf"):
            raise BadQuery(
                f"tokens: {text[:40]!r} is not a number of tokens", "65536, or NAME=65536,OTHER=131072"
            )
    return found


def _levels(view: View, rows: Sequence[Row]) -> Callable[[Curve], list[tuple[str, float]]]:
    """Return a function that gives the published values of a curve's metric."""
    if view.baselines is None:
        return lambda of: []
    columns = [BoardColumn(*key) for key in dict.fromkeys((row.task, row.metric, row.filter) for row in rows)]
    try:
        published = read_baselines(view.baselines, columns)
    except ResultsError:
        return lambda of: []

    def levels(of: Curve) -> list[tuple[str, float]]:
        column = BoardColumn(of.rows[0].task, of.metric, of.filter)
        return [(model.name, model.scores[column]) for model in published if column in model.scores]

    return levels


PAGE = PageKind(
    name="curves",
    label="Curves",
    about="Each metric over steps or tokens, a line per series, with intervals, chance and published values.",
    make=curves_page,
    data=CurvesData,
    parameters=(
        Parameter(name="series", about="names or patterns of series; default: all", repeats=True),
        Parameter(
            name="task", about="names or patterns of tasks; default: groups and lone tasks", repeats=True
        ),
        Parameter(
            name="metric", about="names or patterns of metrics; default: each task's first", repeats=True
        ),
        Parameter(name="x", about="what is counted along the x axis", values=X),
        Parameter(
            name="tokens",
            about="tokens per step: 65536, or NAME=65536,OTHER=131072",
            pattern=f"^({ONE}(,{ONE})*)?$",
        ),
        Parameter(name="scale", about="scale of the x axis", values=SCALES),
        Parameter(name="pin", about="step that is marked in the charts", kind="integer"),
        Parameter(name="from", about="first step shown", kind="integer"),
        Parameter(name="to", about="last step shown", kind="integer"),
    ),
)
