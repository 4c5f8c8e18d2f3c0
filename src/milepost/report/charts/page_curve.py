"""The learning curves of one task for a page: as wide as its place, to be zoomed, pointed at and pinned.

The script of the page sets three parameters: `pin`, the step that the reader has pinned, and `from` and `to`,
the steps between which the curves are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from milepost.analysis.curves import Curve, curves
from milepost.analysis.row import Row
from milepost.report.charts.axes import YAxis, y_axis
from milepost.report.charts.curves import (
    PLAIN,
    SI,
    TOKENS,
    constant_layers,
    drawable,
    looks_of,
    reaches_beyond_0,
    records_of,
    tooltip,
)
from milepost.report.charts.theme import LIGHT
from milepost.report.transforms import with_missing_steps
from milepost.safe_text import printable

HEIGHT = 260
DATA = "curves"


class Level(NamedTuple):
    """A value that other models reach, drawn as a line across."""

    name: str
    value: float


def page_curve(
    rows: Sequence[Row],
    *,
    series: Sequence[str],
    log_x: bool = False,
    x_title: str = "step",
    levels: Sequence[Level] = (),
) -> alt.LayerChart:
    """Return the curves of one task and metric, a line per series with its 95 % band.

    Args:
        rows: of one task, metric and filter; at least one.
        series: all series of the page, so that each looks the same in all of its charts.
        log_x: steps on a log axis; step 0 is left out, unless there is no other.
        x_title: what is counted along the x axis.
        levels: published values.
    """
    rows = with_missing_steps(rows)
    log_x = log_x and reaches_beyond_0(rows)
    drawn = curves(drawable(rows, log_x=log_x))
    by_name = all(row.step is None for each in drawn for row in each.rows)
    axis = y_axis([*(row for each in drawn for row in each.rows)], also=[level.value for level in levels])
    looks = _Looks(drawn, axis, tuple(map(printable, series)), by_name=by_name, log_x=log_x, x_title=x_title)
    chart = alt.layer(
        *constant_layers(drawn[0], looks.y),
        *_level_layers(drawn[0], levels, looks),
        *_curve_layers(looks),
        *([] if by_name else _pointer_layers(looks)),
        width="container",
        height=HEIGHT,
        config=LIGHT,
        padding={"left": 4, "right": 12, "top": 8, "bottom": 4},
        autosize=alt.AutoSizeParams(type="fit", contains="padding"),
    )
    if not by_name:
        chart = chart.add_params(alt.param(name="pin", value=None), *_ends(looks))
    chart.datasets = {DATA: [record for each in drawn for record in records_of(each)]}
    return chart


class _Looks:
    """The encodings that the layers share."""

    def __init__(
        self,
        drawn: Sequence[Curve],
        axis: YAxis,
        series: tuple[str, ...],
        *,
        by_name: bool,
        log_x: bool,
        x_title: str,
    ) -> None:
        self.steps = sorted({row.step for each in drawn for row in each.rows if row.step is not None})
        self.log_x, self.several = log_x, len(series) > 1
        self._scale = alt.Scale(
            domain=[axis.low, axis.high], type="log" if axis.log else "linear", nice=False
        )
        self._labels = alt.Axis(
            title=None, values=axis.ticks, labelExpr=SI if axis.high >= 1000 else PLAIN, labelOverlap=True
        )
        legend = alt.Legend(title=None, orient="top", direction="horizontal", symbolSize=90, columns=3)
        self.color, self.shape, self.dash = looks_of(series, legend if self.several else None)
        self.x = self._names() if by_name else self._steps(x_title)
        self.base = alt.Chart(alt.NamedData(name=DATA)).encode(x=self.x)

    def y(self, field: str) -> alt.Y:
        return alt.Y(field, type="quantitative", scale=self._scale, axis=self._labels)

    def _names(self) -> alt.X:
        return alt.X("checkpoint:N", sort=None, title=None, axis=alt.Axis(labelAngle=-30, labelLimit=160))

    def _steps(self, x_title: str) -> alt.X:
        ends = [alt.ExprRef("from"), alt.ExprRef("to")]
        scale = alt.Scale(type="log" if self.log_x else "linear", domain=ends, nice=False)
        label = SI if x_title == "step" else TOKENS
        axis = alt.Axis(
            title=x_title, grid=False, tickCount=6, labelExpr=label, labelOverlap="greedy", labelSeparation=10
        )
        return alt.X("step:Q", scale=scale, axis=axis)


def _ends(looks: _Looks) -> list[alt.Parameter]:
    first, last = looks.steps[0], looks.steps[-1]
    if looks.log_x:
        air = max(last / first, 1.1) ** 0.02
        ends = first / air, last * air
    else:
        space = (last - first) * 0.025 or max(1.0, first * 0.1)
        ends = first - space, last + space
    return [alt.param(name=name, value=end) for name, end in zip(("from", "to"), ends, strict=True)]


def _level_layers(of: Curve, levels: Sequence[Level], looks: _Looks) -> list[alt.Chart]:
    """Return the chance line and the published values, each with its name at its right end."""
    shown = [] if of.chance is None else [Level("chance", of.chance)]
    values: list[dict[str, Any]] = [
        {"level": level.value, "label": f"{printable(level.name)} {level.value:.3g}"}
        for level in (*shown, *levels)
    ]
    if not values:
        return []
    base = alt.Chart(alt.Data(values=values)).encode(y=looks.y("level"))
    return [
        base.mark_rule(style="chance"),
        base.mark_text(style="chance-label", x=alt.ExprRef("width - 4"), align="right", dy=8).encode(
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
        looks.base.transform_filter("datum.step === pin").mark_rule(style="pin"),
        looks.base.transform_filter("isValid(datum.value)")
        .mark_point(size=260, opacity=0, cursor="pointer", clip=True)
        .encode(y=looks.y("value"), tooltip=tooltip())
        .add_params(near, brush),
        looks.base.transform_filter(near)
        .mark_point(filled=True, size=110, opacity=1, clip=True)
        .encode(y=looks.y("value"), color=looks.color, shape=looks.shape),
    ]
