"""A heat map: one row per task, one column per checkpoint, for as many tasks as MMLU has subjects.

Tasks stand below their group. A metric with a chance level is coloured by its distance from it: blue below,
orange above, white at chance. Any other metric is coloured by its value in Viridis, a perplexity on a log
scale. The colour-blind can read both scales.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import altair as alt

from milepost.analysis.curves import Curve, curves
from milepost.analysis.metric_kinds import is_ratio_scale, value_range
from milepost.analysis.row import Row
from milepost.language import _, for_reader
from milepost.report.charts.curve_marks import value_text
from milepost.report.charts.headings import heading, name_of
from milepost.report.charts.panels import stacked
from milepost.report.charts.theme import LIGHT
from milepost.report.formatting import metric_heading, step_label
from milepost.report.transforms import with_missing_steps
from milepost.safe_text import printable

CELL_HEIGHT = 15
WIDTH = 640
LABEL_PIXELS = 320
SMALLEST_SPAN = 0.2
"""Least share of a bounded metric's range that the colours span: noise must not look like progress."""


def heat_map(rows: Sequence[Row], *, title: str | None = None) -> alt.VConcatChart:
    """Return a map per series and metric: groups above their tasks, the best at the last checkpoint first.

    A cell that was not measured stays empty.

    Args:
        rows: what to draw; at least one.
        title: heading; by default the name of the series, or how many there are.
    """
    found = curves(with_missing_steps(rows))
    own_colours = alt.Resolve(scale={"color": "independent"})
    return stacked(
        found,
        _map,
        _cells,
        name_series=len({row.series for row in rows}) > 1,
        title=heading(name_of(rows, title), WIDTH),
        resolve=own_colours,
    )


def page_map(found: Sequence[Curve], names: Sequence[str]) -> alt.Chart:
    """Return a map of one metric for a page: as wide as its place, tasks in the order given.

    Args:
        found: a curve per task, all of one series and metric.
        names: what the tasks are called.
    """
    chart = _rectangles(found, list(names), "cells", label_pixels=200).properties(
        width="container",
        height=max(120, CELL_HEIGHT * len(found) + 10),
        autosize=alt.AutoSizeParams(type="fit", contains="padding"),
        padding={"left": 4, "right": 4, "top": 8, "bottom": 4},
        config=LIGHT,
    )
    chart.datasets = {
        "cells": [cell for each, name in zip(found, names, strict=True) for cell in _cells_of(each, name)]
    }
    return chart


def _map(of_map: list[Curve], data: str, *, name_series: bool) -> alt.Chart:
    first = of_map[0].rows[0]
    found = _in_groups(of_map)
    what = metric_heading(first.metric, first.filter, first.higher_is_better)
    if has_chance(of_map):
        what += " · " + _("colour: distance from chance")
    return _rectangles(found, [_name(each) for each in found], data, label_pixels=LABEL_PIXELS).properties(
        width=WIDTH,
        height=CELL_HEIGHT * len(found),
        title=alt.TitleParams(text=f"{printable(first.series)} · {what}" if name_series else what),
    )


def _rectangles(found: Sequence[Curve], names: list[str], data: str, *, label_pixels: int) -> alt.Chart:
    places = [step_label(row.step, row.checkpoint) for row in found[0].rows]
    groups = [name for each, name in zip(found, names, strict=True) if each.rows[0].kind == "group"]
    return (
        alt.Chart(alt.NamedData(name=data))
        .mark_rect()
        .encode(
            x=alt.X(
                "checkpoint:O",
                sort=places,
                title=_("step"),
                scale=alt.Scale(domain=places),
                axis=alt.Axis(labelAngle=-60 if len(places) > 12 else 0, labelOverlap=True, ticks=False),
            ),
            y=alt.Y(
                "task:N",
                sort=names,
                title=None,
                axis=alt.Axis(
                    labelLimit=label_pixels,
                    labelOverlap=False,
                    ticks=False,
                    labelFontWeight={
                        "condition": {
                            "test": f"indexof({json.dumps(groups)}, datum.value) >= 0",
                            "value": "bold",
                        },
                        "value": "normal",
                    },
                ),
            ),
            color=_color(found),
            tooltip=[
                alt.Tooltip("task:N", title=_("task")),
                alt.Tooltip("checkpoint:N", title=_("checkpoint")),
                alt.Tooltip("value_text:N", title=_("value")),
                alt.Tooltip("chance:Q", title=_("chance")),
            ],
        )
    )


def _in_groups(of_map: Sequence[Curve]) -> list[Curve]:
    """Return the curves with each group above its tasks, and the best at the last checkpoint first."""
    groups = {each.rows[0].task for each in of_map if each.rows[0].kind == "group"}

    def place(of: Curve) -> tuple[str, ...]:
        row = of.rows[0]
        own = (row.task,) if row.kind == "group" else ()
        return (*(parent for parent in row.parents if parent in groups), *own)

    best = {place(each): _last_value(each) for each in of_map if each.rows[0].kind == "group"}

    def order(of: Curve) -> tuple[tuple[float, str], ...]:
        inside = place(of)
        heads = [(-best.get(inside[: i + 1], 0.0), name) for i, name in enumerate(inside)]
        is_head = of.rows[0].kind == "group"
        return tuple(heads) if is_head else (*heads, (-_last_value(of), of.task))

    def key(of: Curve) -> tuple[bool, tuple[tuple[float, str], ...]]:
        return not place(of), order(of)

    return sorted(of_map, key=key)


def has_chance(of_map: Sequence[Curve]) -> bool:
    """Return whether all tasks of a map have a chance level: then its colours are distances from it."""
    return all(each.chance is not None for each in of_map)


def _color(of_map: Sequence[Curve]) -> alt.Color:
    legend = alt.Legend(title=None, gradientLength=180, orient="right", tickCount=5)
    low, high = _span(of_map)
    if has_chance(of_map):
        far = max(abs(low), abs(high))
        scale = alt.Scale(scheme="blueorange", domain=[-far, far], domainMid=0, clamp=True)
        return alt.Color("from_chance:Q", scale=scale, legend=alt.Legend(**legend.to_dict(), format="+.2~f"))
    is_log = is_ratio_scale(of_map[0].metric) and low > 0
    scale = alt.Scale(
        scheme="viridis", domain=[low, high], clamp=True, type="log" if is_log else alt.Undefined
    )
    return alt.Color("value:Q", scale=scale, legend=legend)


def _cells(of_map: Sequence[Curve]) -> list[dict[str, Any]]:
    return [cell for each in of_map for cell in _cells_of(each, _name(each))]


def _name(of: Curve) -> str:
    return for_reader(printable(of.task))


def _cells_of(of: Curve, name: str) -> list[dict[str, Any]]:
    return [
        {
            "task": name,
            "checkpoint": step_label(row.step, row.checkpoint),
            "value": row.value,
            "from_chance": None if row.value is None or of.chance is None else row.value - of.chance,
            "chance": of.chance,
            "value_text": value_text(row),
        }
        for row in of.measured
    ]


def _span(of_map: Sequence[Curve]) -> list[float]:
    """Return the ends of the colour scale: the values, widened to the least span of an axis.

    Distances from chance where every task has that level.
    """
    centred = has_chance(of_map)
    values = [
        row.value - ((each.chance or 0.0) if centred else 0.0)
        for each in of_map
        for row in each.measured
        if row.value is not None
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    lowest, highest = (-1.0, 1.0) if centred else value_range(of_map[0].metric, values)
    least = SMALLEST_SPAN * (highest - lowest if highest - lowest < float("inf") else abs(high) or 1.0)
    missing = max(0.0, least - (high - low)) / 2
    return [max(lowest, low - missing), min(highest, high + missing)]


def _last_value(of: Curve) -> float:
    value = of.last.value if of.last is not None else None
    sign = -1.0 if of.rows[0].higher_is_better is False else 1.0
    return float("-inf") if value is None else sign * value
