"""The learning curves of one task for a page: as wide as its place, to be zoomed, pointed at and pinned.

Values, ends of axes, ticks and levels are data and parameters of the spec. Its marks and encodings depend on
the series and the scales alone, so Altair makes them once for all charts of a page: that takes 0.1 s or more.

The script of the page sets three parameters: `pin`, the step that the reader has pinned, and `from` and `to`,
the steps between which the curves are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import altair as alt

from milepost.analysis.curves import Curve, curves
from milepost.analysis.row import Row
from milepost.language import _, language
from milepost.report.charts.axes import PLAIN, SI, TOKENS, y_axis
from milepost.report.charts.curve_marks import looks_of, records_of, steps_title, tooltip
from milepost.report.charts.remarks import drawable, reaches_beyond_0
from milepost.report.transforms import with_missing_steps
from milepost.safe_text import printable

HEIGHT = 260
CURVES, LEVELS, BAND = "curves", "levels", "band"
"""Names of the data."""


class Level(NamedTuple):
    """A value that others reach, drawn as a line across."""

    name: str
    value: float


class _Kind(NamedTuple):
    """The settings on which the marks and encodings of a chart depend."""

    series: tuple[str, ...]
    by_name: bool
    log_x: bool
    log_y: bool
    in_tokens: bool
    language: str


def page_curve(
    rows: Sequence[Row],
    *,
    series: Sequence[str],
    log_x: bool = False,
    in_tokens: bool = False,
    levels: Sequence[Level] = (),
) -> dict[str, Any]:
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
    axis = y_axis(shown, also=[level.value for level in levels])
    kind = _Kind(tuple(map(printable, series)), not steps, log_x, axis.log, in_tokens, language())
    values = {
        "low": axis.low,
        "high": axis.high,
        "ticks": axis.ticks,
        "pin": None,
        **_ends(steps, log_x=log_x),
    }
    template = _template(kind)
    return {
        **template,
        "params": [{"name": name, "value": value} for name, value in values.items()] + template["params"],
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


@lru_cache(maxsize=32)
def _template(kind: _Kind) -> dict[str, Any]:
    """Return the spec without values."""
    looks = _Looks(kind)
    chart = alt.layer(
        *_background_layers(looks),
        *_curve_layers(looks),
        *([] if kind.by_name else _pointer_layers(looks)),
        width="container",
        height=HEIGHT,
        padding={"left": 4, "right": 12, "top": 8, "bottom": 4},
        autosize=alt.AutoSizeParams(type="fit", contains="padding"),
    )
    spec: dict[str, Any] = chart.to_dict()
    return {"params": [], **{key: spec[key] for key in spec if key not in ("config", "datasets")}}


class _Looks:
    """The encodings that the layers share."""

    def __init__(self, kind: _Kind) -> None:
        self.several = len(kind.series) > 1
        self._scale = alt.Scale(
            domain=[alt.ExprRef("low"), alt.ExprRef("high")],
            type="log" if kind.log_y else "linear",
            nice=False,
        )
        self._labels = alt.Axis(
            title=None,
            values=alt.ExprRef("ticks"),
            labelExpr=f"high >= 1000 ? {SI} : {PLAIN}",
            labelOverlap=True,
        )
        legend = alt.Legend(title=None, orient="top", direction="horizontal", symbolSize=90, columns=3)
        self.color, self.shape, self.dash = looks_of(kind.series, legend if self.several else None)
        self.x = _names() if kind.by_name else _steps(kind)
        self.base = alt.Chart(alt.NamedData(name=CURVES)).encode(x=self.x)

    def y(self, field: str) -> alt.Y:
        return alt.Y(field, type="quantitative", scale=self._scale, axis=self._labels)


def _names() -> alt.X:
    return alt.X("checkpoint:N", sort=None, title=None, axis=alt.Axis(labelAngle=-30, labelLimit=160))


def _steps(kind: _Kind) -> alt.X:
    ends = [alt.ExprRef("from"), alt.ExprRef("to")]
    scale = alt.Scale(type="log" if kind.log_x else "linear", domain=ends, nice=False)
    axis = alt.Axis(
        title=steps_title(in_tokens=kind.in_tokens),
        grid=False,
        tickCount=6,
        labelExpr=TOKENS if kind.in_tokens else SI,
        labelOverlap="greedy",
        labelSeparation=10,
    )
    return alt.X("step:Q", scale=scale, axis=axis)


def _background_layers(looks: _Looks) -> list[alt.Chart]:
    """Return the band of constant answers, the chance line and the published values with their names."""
    levels = alt.Chart(alt.NamedData(name=LEVELS)).encode(y=looks.y("level"))
    return [
        alt.Chart(alt.NamedData(name=BAND))
        .mark_rect(style="constant")
        .encode(y=looks.y("lowest"), y2="highest"),
        levels.mark_rule(style="chance"),
        levels.mark_text(style="chance-label", x=alt.ExprRef("width - 4"), align="right", dy=8).encode(
            text="label:N"
        ),
    ]


def _curve_layers(looks: _Looks) -> list[alt.Chart]:
    base, y = looks.base, looks.y
    return [
        base.mark_area(opacity=0.12 if looks.several else 0.18, clip=True).encode(
            y=y("ci_low"), y2="ci_high", color=looks.color
        ),
        base.transform_filter("datum.alone")
        .mark_rule(strokeWidth=1.6, clip=True)
        .encode(y=y("ci_low"), y2="ci_high", color=looks.color),
        base.mark_line(strokeWidth=2, clip=True).encode(
            y=y("value"), color=looks.color, strokeDash=looks.dash
        ),
        base.mark_point(filled=True, size=40, opacity=1, clip=True, cursor="pointer").encode(
            y=y("value"), color=looks.color, shape=looks.shape, tooltip=tooltip()
        ),
        base.transform_filter("datum.best")
        .mark_point(style="best", shape="circle", clip=True)
        .encode(y=y("value")),
    ]


def _pointer_layers(looks: _Looks) -> list[alt.Chart]:
    """Return the pinned step, and wide points that nobody sees and the pointer finds easily."""
    near = alt.selection_point(name="near", fields=["step"], nearest=True, on="pointerover", empty=False)
    brush = alt.selection_interval(
        name="brush", encodings=["x"], mark=alt.BrushConfig(fillOpacity=0.12, strokeOpacity=0.3)
    )
    return [
        looks.base.transform_filter("datum.step === pin").mark_rule(style="pin", clip=True),
        looks.base.transform_filter("isValid(datum.value)")
        .mark_point(size=260, opacity=0, cursor="pointer", clip=True)
        .encode(y=looks.y("value"), tooltip=tooltip())
        .add_params(near, brush),
        looks.base.transform_filter(near)
        .mark_point(filled=True, size=110, opacity=1, clip=True)
        .encode(y=looks.y("value"), color=looks.color, shape=looks.shape),
    ]
