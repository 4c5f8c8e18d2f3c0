"""The learning curves of one task for a page: as wide as its place, to be zoomed, pointed at and pinned.

The specs of pages are plain Vega-Lite and need no Altair, whose import alone takes longer than a page may.
The script of the page sets three parameters: `pin`, the step that the reader has pinned, and `from` and `to`,
the steps between which the curves are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from milepost.analysis.curves import Curve, curves
from milepost.analysis.row import Row
from milepost.report.charts.axes import PLAIN, SI, TOKENS, YAxis, y_axis
from milepost.report.charts.curve_marks import NAMES_AXIS, records_of, steps_title, tooltip
from milepost.report.charts.remarks import drawable, reaches_beyond_0
from milepost.report.charts.theme import FITTED, looks_of
from milepost.report.transforms import with_missing_steps
from milepost.text.language import _
from milepost.text.safe_text import printable

HEIGHT = 260
CURVES, LEVELS, BAND = "curves", "levels", "band"
"""Names of the data."""
POINTS = "points"
"""The layer that the pointer finds."""

Spec = dict[str, Any]


class Level(NamedTuple):
    """A value that others reach, drawn as a line across."""

    name: str
    value: float


def page_curve(
    rows: Sequence[Row],
    *,
    series: Sequence[str],
    log_x: bool = False,
    in_tokens: bool = False,
    levels: Sequence[Level] = (),
) -> Spec:
    """Return the spec of the curves of one task and metric, a line per series with its 95 % band.

    Args:
        rows: of one task, metric and filter; at least one.
        series: all series of the page, so that each looks the same in all of its charts.
        log_x: steps on a log axis; step 0 is left out, unless there is no other.
        in_tokens: the steps are tokens that were trained on.
        levels: published values.
    """
    rows = with_missing_steps(rows)
    log_x = log_x and reaches_beyond_0(rows)
    drawn = curves(drawable(rows, log_x=log_x))
    shown = [row for each in drawn for row in each.rows]
    steps = [row.step for row in shown if row.step is not None]
    y = _y(y_axis(shown, also=[level.value for level in levels]))
    x = _steps(log_x=log_x, in_tokens=in_tokens) if steps else _names()
    return {
        "width": "container",
        "height": HEIGHT,
        "padding": {"left": 4, "right": 12, "top": 8, "bottom": 4},
        "autosize": FITTED,
        "params": [
            {"name": "pin", "value": None},
            *({"name": name, "value": value} for name, value in _ends(steps, log_x=log_x).items()),
            *(_POINTERS if steps else ()),
        ],
        "layer": [
            *_background_layers(y),
            *_curve_layers(x, y, list(map(printable, series))),
            *(_pointer_layers(x, y, list(map(printable, series))) if steps else ()),
        ],
        "datasets": {
            CURVES: [record for each in drawn for record in records_of(each)],
            LEVELS: _levels(drawn[0], levels),
            BAND: [{"lowest": end[0], "highest": end[1]} for end in (drawn[0].constant,) if end is not None],
        },
    }


def _ends(steps: Sequence[int], *, log_x: bool) -> dict[str, float]:
    """Return the ends of the x axis, with some air."""
    if not steps:
        return {}
    first, last = min(steps), max(steps)
    if log_x:
        air = max(last / first, 1.1) ** 0.02
        return {"from": first / air, "to": last * air}
    space = (last - first) * 0.025 or max(1.0, first * 0.1)
    return {"from": first - space, "to": last + space}


def _levels(of: Curve, levels: Sequence[Level]) -> list[dict[str, Any]]:
    chance = [] if of.chance is None else [Level(_("chance"), of.chance)]
    return [
        {"level": level.value, "label": f"{printable(level.name)} {level.value:.3g}"}
        for level in (*chance, *levels)
    ]


def _y(axis: YAxis) -> Spec:
    """Return the y encoding without its field."""
    return {
        "type": "quantitative",
        "scale": {"domain": [axis.low, axis.high], "type": "log" if axis.log else "linear", "nice": False},
        "axis": {
            "title": None,
            "values": axis.ticks,
            "labelExpr": SI if axis.high >= 1000 else PLAIN,
            "labelOverlap": True,
        },
    }


def _names() -> Spec:
    return {"field": "checkpoint", "type": "nominal", "sort": None, "title": None, "axis": NAMES_AXIS}


def _steps(*, log_x: bool, in_tokens: bool) -> Spec:
    return {
        "field": "step",
        "type": "quantitative",
        "scale": {
            "type": "log" if log_x else "linear",
            "domain": [{"expr": "from"}, {"expr": "to"}],
            "nice": False,
        },
        "axis": {
            "title": steps_title(in_tokens=in_tokens),
            "grid": False,
            "tickCount": 6,
            "labelExpr": TOKENS if in_tokens else SI,
            "labelOverlap": "greedy",
            "labelSeparation": 10,
        },
    }


def _layer(data: str, mark: Mapping[str, Any], *, filtered: Any = None, **encoding: Any) -> Spec:
    transform = {} if filtered is None else {"transform": [{"filter": filtered}]}
    return {"data": {"name": data}, **transform, "mark": mark, "encoding": encoding}


def _background_layers(y: Spec) -> list[Spec]:
    """Return the band of constant answers, the chance line and the published values with their names."""
    label = {"type": "text", "style": "chance-label", "x": {"expr": "width - 4"}, "align": "right", "dy": 8}
    level = {"field": "level", **y}
    return [
        _layer(
            BAND,
            {"type": "rect", "style": "constant"},
            y={"field": "lowest", **y},
            y2={"field": "highest"},
        ),
        _layer(LEVELS, {"type": "rule", "style": "chance"}, y=level),
        _layer(LEVELS, label, y=level, text={"field": "label", "type": "nominal"}),
    ]


def _curve_layers(x: Spec, y: Spec, series: Sequence[str]) -> list[Spec]:
    looks, value = _looks(series), {"field": "value", **y}
    band = {"x": x, "y": {"field": "ci_low", **y}, "y2": {"field": "ci_high"}, "color": looks["color"]}
    opacity = 0.12 if len(series) > 1 else 0.18
    point = {"type": "point", "filled": True, "size": 40, "opacity": 1, "clip": True, "cursor": "pointer"}
    ring = {"type": "point", "style": "best", "shape": "circle", "clip": True}
    return [
        _layer(CURVES, {"type": "area", "opacity": opacity, "clip": True}, **band),
        _layer(CURVES, {"type": "rule", "strokeWidth": 1.6, "clip": True}, filtered="datum.alone", **band),
        _layer(
            CURVES,
            {"type": "line", "strokeWidth": 2, "clip": True},
            x=x,
            y=value,
            color=looks["color"],
            strokeDash=looks["strokeDash"],
        ),
        _layer(CURVES, point, x=x, y=value, color=looks["color"], shape=looks["shape"], tooltip=tooltip()),
        _layer(CURVES, ring, filtered="datum.best", x=x, y=value),
    ]


_POINTERS: tuple[Spec, ...] = (
    {
        "name": "near",
        "select": {"type": "point", "fields": ["step"], "nearest": True, "on": "pointerover"},
        "views": [POINTS],
    },
    {
        "name": "brush",
        "select": {
            "type": "interval",
            "encodings": ["x"],
            "mark": {"fillOpacity": 0.12, "strokeOpacity": 0.3},
        },
        "views": [POINTS],
    },
)
"""The step that is nearest to the pointer, and the steps between which the reader drags."""


def _pointer_layers(x: Spec, y: Spec, series: Sequence[str]) -> list[Spec]:
    """Return the pinned step, and wide points that nobody sees and the pointer finds easily."""
    looks, value = _looks(series), {"field": "value", **y}
    wide = {"type": "point", "size": 260, "opacity": 0, "cursor": "pointer", "clip": True}
    points = _layer(CURVES, wide, filtered="isValid(datum.value)", x=x, y=value, tooltip=tooltip())
    near = {"type": "point", "filled": True, "size": 110, "opacity": 1, "clip": True}
    return [
        _layer(CURVES, {"type": "rule", "style": "pin", "clip": True}, filtered="datum.step === pin", x=x),
        {"name": POINTS, **points},
        _layer(
            CURVES,
            near,
            filtered={"param": "near", "empty": False},
            x=x,
            y=value,
            color=looks["color"],
            shape=looks["shape"],
        ),
    ]


def _looks(series: Sequence[str]) -> dict[str, Spec]:
    legend = {"title": None, "orient": "top", "direction": "horizontal", "symbolSize": 90, "columns": 3}
    return looks_of("series", series, legend if len(series) > 1 else None)
