"""Subjects: a heat map of the tasks of a group, checkpoints across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from milepost.analysis.curves import Curve, curves
from milepost.report.blocks import Block, Controls, Note
from milepost.report.figures import heat_figure
from milepost.results import Selection, select_rows
from milepost.store.task_metrics import TaskMetrics
from milepost.text.language import _
from milepost.web.choices import chosen, one_of, switch
from milepost.web.page import Page, PageKind, Parameter, View
from milepost.web.query import Query

ORDERS = ("last", "gain", "name")
SHOWN = ("all", "ends")
ENDS = 10
"""Tasks of the top and of the bottom."""


class SubjectData(TypedDict):
    """One task: its values by checkpoint; null where it was not measured."""

    task: str
    first: float | None
    last: float | None
    gain: float | None
    values: list[float | None]


class SubjectsData(TypedDict):
    """The heat map."""

    series: str | None
    group: str | None
    metric: str | None
    checkpoints: list[str]
    steps: list[int | None]
    subjects: list[SubjectData]


def subjects(view: View, query: Query) -> Page:
    """Return the heat map of one series, group and metric."""
    order, shown = query.choice("sort", ORDERS, "last"), query.choice("show", SHOWN, "all")
    title = _("Subjects")
    every = view.index.tasks(())
    tasks = [each for each in every if not each.is_group]
    if not tasks:
        nothing = SubjectsData(series=None, group=None, metric=None, checkpoints=[], steps=[], subjects=[])
        return Page(title=title, blocks=(Note(_("Nothing is measured yet.")),), data=nothing)
    every_series = _series(tasks)
    series = chosen(query.text("series"), every_series, "series", every_series[0])
    own = [each for each in tasks if each.series == series]
    groups = list(dict.fromkeys(parent for each in own for parent in each.rows[0].parents))
    group = chosen(query.text("group"), ["", *groups], "group", groups[0] if groups else "")
    inside = [each for each in own if not group or group in each.rows[0].parents]
    metrics = list(dict.fromkeys(name for each in inside for name in each.metric_names))
    metric = chosen(query.text("metric"), metrics, "metric", metrics[0])
    names = list(dict.fromkeys(each.task for each in inside if metric in each.metric_names))
    rows = select_rows(view.index, Selection(tasks=names, metrics=(metric,), series=(series,), subjects=True))
    found = in_order([each for each in curves(rows) if each.first is not None], order)
    picked = found if shown == "all" or len(found) <= 2 * ENDS else [*found[:ENDS], *found[-ENDS:]]
    blocks: list[Block] = [_controls(_series(every), groups, metrics, (series, group, metric, order, shown))]
    if len(picked) < len(found):
        blocks.append(Note(_("The {n} first and the {n} last of {all} subjects.", n=ENDS, all=len(found))))
    blocks.append(heat_figure(picked, href="curves"))
    places = found[0].rows if found else ()
    data = SubjectsData(
        series=series,
        group=group or None,
        metric=metric,
        checkpoints=[row.checkpoint for row in places],
        steps=[row.step for row in places],
        subjects=[_subject(each) for each in picked],
    )
    return Page(title=title, blocks=tuple(blocks), data=data)


def in_order(found: Sequence[Curve], order: str) -> list[Curve]:
    """Return the curves with the best last value, or the largest gain, first."""
    if order == "name":
        return sorted(found, key=lambda each: each.task)
    key = gain if order == "gain" else _last
    return sorted(found, key=lambda each: key(each) * _sign(each), reverse=True)


def gain(of: Curve) -> float:
    """Return last minus first."""
    return _last(of) - (of.first.value if of.first and of.first.value is not None else 0.0)


def _last(of: Curve) -> float:
    return of.last.value if of.last and of.last.value is not None else 0.0


def _sign(of: Curve) -> int:
    return -1 if of.rows[0].higher_is_better is False else 1


def _subject(of: Curve) -> SubjectData:
    return SubjectData(
        task=of.task,
        first=of.first.value if of.first else None,
        last=of.last.value if of.last else None,
        gain=gain(of) if len(of.measured) > 1 else None,
        values=[row.value for row in of.rows],
    )


def _series(every: Sequence[TaskMetrics]) -> list[str]:
    return list(dict.fromkeys(each.series for each in every))


def _controls(
    every_series: list[str], groups: list[str], metrics: list[str], values: tuple[str, str, str, str, str]
) -> Controls:
    series, group, metric, order, shown = values
    orders = {"last": _("last value"), "gain": _("gain"), "name": _("name")}
    fields = [
        *([one_of("series", _("Series"), every_series, series)] if len(every_series) > 1 else []),
        *([one_of("group", _("Group"), groups, group)] if groups else []),
        one_of("metric", _("Metric"), metrics, metric),
        switch("sort", _("Sort by"), orders, order),
        switch("show", _("Show"), {"all": _("all"), "ends": _("top and bottom")}, shown),
    ]
    return Controls(tuple(fields), _("What the map shows"))


PAGE = PageKind(
    name="subjects",
    label="Subjects",
    about="A heat map of the tasks of a group, checkpoints across.",
    make=subjects,
    data=SubjectsData,
    parameters=(
        Parameter(name="series", about="name of a series; default: the first"),
        Parameter(name="group", about="name of a group; default: the outermost"),
        Parameter(name="metric", about="name of a metric; default: the first"),
        Parameter(name="sort", about="order of the subjects", values=ORDERS),
        Parameter(name="show", about="all subjects, or the first and last ten", values=SHOWN),
    ),
)
