"""The cells of a heat map as Vega-Lite, and the map of a page: one row per task, one column per checkpoint.

A metric with a chance level is coloured by its distance from it: blue below, orange above, white at chance.
Any other metric is coloured by its value in Viridis, a perplexity on a log scale. The colour-blind can read
both scales. Needs no Altair, whose import alone takes longer than a page may.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from milepost.analysis.curves import Curve
from milepost.analysis.metric_kinds import is_ratio_scale, value_range
from milepost.report.charts.curve_marks import value_text
from milepost.report.charts.theme import FITTED
from milepost.report.formatting import step_label
from milepost.text.language import _

CELL_HEIGHT = 15
SHORTEST_LEGEND = 48
"""Pixels; a legend is not longer than its map, unless that has only a few rows."""
SMALLEST_SPAN = 0.2
"""Least share of a bounded metric's range that the colours span: noise must not look like progress."""
IN_THOUSANDS = "format(toNumber(datum.value), '~s')"
"""The label of a step, such as `1k`: as in other charts, though here it is the name of a column."""
MANY_COLUMNS = 12
"""Names of more checkpoints than this are slanted."""


def page_map(found: Sequence[Curve], names: Sequence[str]) -> dict[str, Any]:
    """Return the spec of a map of one metric for a page: as wide as its place, tasks in the order given.

    Args:
        found: a curve per task, all of one series and metric.
        names: what the tasks are called.
    """
    return {
        **rectangles(found, names, "cells", label_pixels=200),
        # To a screen reader the chart is one picture, and labels of its cells are a third of the drawing.
        "mark": {"type": "rect", "aria": False},
        "width": "container",
        "height": max(120, CELL_HEIGHT * len(found) + 10),
        "autosize": FITTED,
        "padding": {"left": 4, "right": 4, "top": 8, "bottom": 4},
        "datasets": {
            "cells": [cell for each, name in zip(found, names, strict=True) for cell in cells_of(each, name)]
        },
    }


def rectangles(
    found: Sequence[Curve], names: Sequence[str], data: str, *, label_pixels: int
) -> dict[str, Any]:
    """Return the marks of a map of one metric: a rectangle per cell of the data of that name."""
    places = [step_label(row.step, row.checkpoint) for row in found[0].rows]
    are_steps = all(row.step is not None for row in found[0].rows)
    groups = [name for each, name in zip(found, names, strict=True) if each.rows[0].kind == "group"]
    is_group = f"indexof({json.dumps(groups)}, datum.value) >= 0"
    return {
        "data": {"name": data},
        "mark": {"type": "rect"},
        "encoding": {
            "x": {
                "field": "checkpoint",
                "type": "ordinal",
                "sort": places,
                "title": _("step"),
                "scale": {"domain": places},
                "axis": {
                    "labelAngle": -60 if len(places) > MANY_COLUMNS else 0,
                    "labelOverlap": True,
                    "ticks": False,
                    **({"labelExpr": IN_THOUSANDS} if are_steps else {}),
                },
            },
            "y": {
                "field": "task",
                "type": "nominal",
                "sort": list(names),
                "title": None,
                "axis": {
                    "labelLimit": label_pixels,
                    "labelOverlap": False,
                    "ticks": False,
                    "labelFontWeight": {"condition": {"test": is_group, "value": "bold"}, "value": "normal"},
                },
            },
            "color": _color(found),
            "tooltip": [
                {"field": "task", "type": "nominal", "title": _("task")},
                {"field": "checkpoint", "type": "nominal", "title": _("checkpoint")},
                {"field": "value_text", "type": "nominal", "title": _("value")},
                {"field": "chance", "type": "quantitative", "title": _("chance")},
            ],
        },
    }


def has_chance(of_map: Sequence[Curve]) -> bool:
    """Return whether all tasks of a map have a chance level: then its colours are distances from it."""
    return all(each.chance is not None for each in of_map)


def cells_of(of: Curve, name: str) -> list[dict[str, Any]]:
    """Return what is drawn of a task: a record per checkpoint that was measured."""
    chance = of.chance
    return [
        {
            "task": name,
            "checkpoint": step_label(row.step, row.checkpoint),
            "value": row.value,
            "from_chance": None if row.value is None or chance is None else row.value - chance,
            "chance": chance,
            "value_text": value_text(row),
        }
        for row in of.measured
    ]


def _color(of_map: Sequence[Curve]) -> dict[str, Any]:
    length = min(180, max(SHORTEST_LEGEND, CELL_HEIGHT * len(of_map)))
    ticks = 5 if length > 2 * SHORTEST_LEGEND else 2
    legend = {"title": None, "gradientLength": length, "orient": "right", "tickCount": ticks}
    low, high = _span(of_map)
    if has_chance(of_map):
        far = max(abs(low), abs(high))
        return {
            "field": "from_chance",
            "type": "quantitative",
            "scale": {"scheme": "blueorange", "domain": [-far, far], "domainMid": 0, "clamp": True},
            "legend": {**legend, "format": "+.2~f"},
        }
    scale = {"scheme": "viridis", "domain": [low, high], "clamp": True}
    if is_ratio_scale(of_map[0].metric) and low > 0:
        scale["type"] = "log"
    return {"field": "value", "type": "quantitative", "scale": scale, "legend": legend}


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
