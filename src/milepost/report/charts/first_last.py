"""Bars of the first and the last checkpoint, task by task, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from milepost.analysis.curves import Curve, curves
from milepost.analysis.row import Row
from milepost.report.charts.axes import y_axis
from milepost.report.charts.curve_marks import value_text
from milepost.report.charts.headings import heading, name_of
from milepost.report.charts.panels import stacked
from milepost.report.formatting import metric_heading
from milepost.report.notes import listed
from milepost.text.language import _, for_reader
from milepost.text.safe_text import printable

BAR_HEIGHT = 24
"""Pixels of a task: two bars and the space between tasks."""
WIDTH = 520
LABEL_PIXELS = 320
COLOURS = ("#9ecae1", "#08519c")
"""Light for the first and dark for the last, which differ in grey as well."""


def first_last(rows: Sequence[Row], *, title: str | None = None) -> alt.VConcatChart:
    """Return a panel per series and metric, with the task that gained most on top.

    Args:
        rows: what to draw; at least one.
        title: heading; by default the name of the series, or how many there are.
    """
    found = [each for each in curves(rows) if each.first is not None]
    several = len({row.series for row in rows}) > 1
    return stacked(
        found,
        _panel,
        _bars,
        name_series=several,
        title=heading(name_of(rows, title), WIDTH),
        resolve=alt.Resolve(scale={"color": "independent", "yOffset": "independent"}),
    )


def _panel(of_panel: list[Curve], data: str, *, name_series: bool) -> alt.LayerChart:
    first = of_panel[0].rows[0]
    tasks = [for_reader(printable(each.task)) for each in sorted(of_panel, key=_gain, reverse=True)]
    shown = [row for each in of_panel for row in _ends(each)]
    axis = y_axis(shown)
    scale = alt.Scale(domain=[_foot(shown), axis.high], nice=False, type="log" if axis.log else "linear")
    when = _names_of_ends(of_panel)
    base = alt.Chart(alt.NamedData(name=data)).encode(
        y=alt.Y("task:N", sort=tasks, title=None, axis=alt.Axis(labelLimit=LABEL_PIXELS, ticks=False)),
        yOffset=alt.YOffset("when:N", sort=when, scale=alt.Scale(domain=when, paddingInner=0.1)),
        tooltip=[
            alt.Tooltip("task:N", title=_("task")),
            alt.Tooltip("checkpoint:N", title=_("checkpoint")),
            alt.Tooltip("value_text:N", title=_("value")),
        ],
    )
    bars = base.mark_bar().encode(
        x=alt.X(
            "low:Q",
            scale=scale,
            title=None,
            axis=alt.Axis(values=axis.ticks) if axis.log else alt.Axis(tickCount=6),
        ),
        x2="value",
        color=alt.Color(
            "when:N",
            scale=alt.Scale(domain=when, range=list(COLOURS)),
            legend=alt.Legend(title=None, orient="top", direction="horizontal"),
        ),
    )
    ends = {"x": alt.X("ci_low:Q", scale=scale), "x2": "ci_high"}
    intervals = [
        base.mark_rule(strokeWidth=3.6, color="white").encode(**ends),  # so that it is seen on a dark bar
        base.mark_rule(strokeWidth=1.4, color="#333333").encode(**ends),
    ]
    what = metric_heading(first.metric, first.filter, first.higher_is_better)
    layers: list[alt.Chart] = [bars, *intervals]
    if any(each.chance is not None for each in of_panel):
        # As high as its task's row: tasks with other numbers of choices have another chance.
        level = alt.Chart(alt.NamedData(name=data)).encode(
            x=alt.X("chance:Q", scale=scale),
            y=alt.Y("task:N", sort=tasks, title=None, bandPosition=0),
            y2=alt.Y2("task:N", bandPosition=1),
        )
        layers.append(level.transform_filter("isValid(datum.chance)").mark_rule(style="chance"))
        what += " · " + _("dashed: chance")
    return alt.layer(*layers).properties(
        width=WIDTH,
        height=BAR_HEIGHT * len(tasks),
        title=alt.TitleParams(text=f"{printable(first.series)} · {what}" if name_series else what),
    )


def _bars(of_panel: Sequence[Curve]) -> list[dict[str, Any]]:
    foot = _foot([row for each in of_panel for row in _ends(each)])
    first, last = _names_of_ends(of_panel)
    return [
        {
            "task": for_reader(printable(each.task)),
            "when": first if row is each.first and row is not each.last else last,
            "checkpoint": printable(row.checkpoint),
            "low": foot,
            "value": row.value,
            "ci_low": row.ci_low,
            "ci_high": row.ci_high,
            "chance": each.chance,
            "value_text": value_text(row),
        }
        for each in of_panel
        for row in _ends(each)
    ]


def _names_of_ends(of_panel: Sequence[Curve]) -> list[str]:
    """Return `first: step 25` and `last: step 1600`; several steps where those of the tasks differ."""
    ends = [(each.first, each.last) for each in of_panel]
    return [
        f"{name}: {_steps([row for row in rows if row is not None])}"
        for name, rows in zip((_("first"), _("last")), zip(*ends, strict=True), strict=True)
    ]


def _steps(rows: Sequence[Row]) -> str:
    places = dict.fromkeys(
        printable(row.checkpoint) if row.step is None else _("step {step}", step=row.step) for row in rows
    )
    return for_reader(listed(list(places)))


def _foot(shown: Sequence[Row]) -> float:
    """Return the value at which bars begin: 0, so that lengths compare, unless there are values below.

    A log axis has no 0; its bars begin where it begins.
    """
    axis = y_axis(shown)
    return axis.low if axis.log else min(0.0, axis.low)


def _ends(of: Curve) -> list[Row]:
    found = [row for row in (of.first, of.last) if row is not None]
    return found if len(found) == 2 and found[0] is not found[1] else found[:1]


def _gain(of: Curve) -> float:
    first, last = of.first, of.last
    if first is None or last is None or first.value is None or last.value is None:
        return 0.0
    return (last.value - first.value) * (-1.0 if first.higher_is_better is False else 1.0)
