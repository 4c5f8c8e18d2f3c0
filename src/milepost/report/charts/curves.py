"""Learning curves as Altair charts: one panel per metric, one line with its 95 % band per series.

Knows rows and Vega-Lite, not files. Importing it imports altair (0.5 s).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import altair as alt

from milepost.analysis.curves import Curve, curves
from milepost.analysis.row import Row
from milepost.analysis.standing import best_row
from milepost.report.charts.axes import PLAIN, SI, TOKENS, linear_ticks, log_ticks, y_axis
from milepost.report.charts.curve_marks import NAMES_AXIS, records_of, steps_title, tooltip, value_text
from milepost.report.charts.headings import heading, name_of
from milepost.report.charts.remarks import drawable, marks, reaches_beyond_0, remarks
from milepost.report.charts.theme import LIGHT, looks_of
from milepost.report.formatting import metric_heading, wrapped
from milepost.report.transforms import with_missing_steps
from milepost.text.language import _, for_reader
from milepost.text.safe_text import printable


class Size(NamedTuple):
    """Panels side by side, and the size of each in pixels."""

    columns: int
    width: int
    height: int


class Paper(NamedTuple):
    """Settings that all panels of a chart share."""

    size: Size
    series: tuple[str, ...]
    by_name: bool
    """True where no checkpoint has a step: the x axis has names."""
    steps: tuple[int, ...]
    log_x: bool
    in_tokens: bool


def curve(
    rows: Sequence[Row], *, title: str | None = None, log_x: bool = False, in_tokens: bool = False
) -> alt.ConcatChart:
    """Return a chart of the rows: a panel for each task, metric and filter, in the order of the rows.

    Bands are 95 % intervals and break where a checkpoint has no value; a point without neighbours has an
    error bar. Every y axis follows `axes.y_axis`. What is not drawn is said in the subtitle; see `remarks`.

    Args:
        rows: what to draw, every row of it; at least one.
        title: heading; by default the name of the series, or how many there are.
        log_x: steps on a log axis; step 0 is left out, unless there is no other.
        in_tokens: the steps are tokens that were trained on.
    """
    rows = with_missing_steps(rows)
    log_x = log_x and reaches_beyond_0(rows)
    drawn = drawable(rows, log_x=log_x)
    panels: dict[tuple[str, str, str], list[Curve]] = {}
    for each in curves(drawn):
        panels.setdefault((each.task, each.metric, each.filter), []).append(each)
    series = tuple(dict.fromkeys(printable(row.series) for row in drawn))
    paper = Paper(
        size=_size(len(panels)),
        series=series,
        by_name=all(row.step is None for row in drawn),
        steps=tuple(sorted({row.step for row in drawn if row.step is not None})),
        log_x=log_x,
        in_tokens=in_tokens,
    )
    first_of_last_row = len(panels) - paper.size.columns
    chart = alt.concat(
        *(
            _panel(of_panel, paper, f"panel-{i}", with_title=i >= first_of_last_row)
            for i, of_panel in enumerate(panels.values())
        ),
        columns=paper.size.columns,
        spacing={"row": 26, "column": 22},
        title=_heading(
            name_of(drawn, title),
            [each for of_panel in panels.values() for each in of_panel],
            remarks(rows, log_x=log_x),
            paper.size,
        ),
        config=LIGHT,
        padding=14,
        resolve=alt.Resolve(scale={"color": "shared", "shape": "shared", "strokeDash": "shared"}),
    )
    # Named data, set last: altair deep-copies whatever lies in a panel for each of its layers.
    chart.datasets = {
        f"panel-{i}": [record for each in of_panel for record in records_of(each)]
        for i, of_panel in enumerate(panels.values())
    }
    return chart


def _size(panels: int) -> Size:
    if panels == 1:
        return Size(1, 620, 340)
    if panels in (2, 4):
        return Size(2, 400, 240)
    return Size(3, 300, 180) if panels <= 24 else Size(4, 200, 140)


def _heading(text: str, drawn: Sequence[Curve], notes: Sequence[str], size: Size) -> alt.TitleParams:
    width = size.columns * size.width
    lines = [line for note in notes for line in wrapped(for_reader(note), width // 6)]
    return heading(text, width, [" · ".join(marks(drawn)), *lines])


# ---- one panel -----------------------------------------------------------------------------------------


def _panel(of_panel: list[Curve], paper: Paper, data: str, *, with_title: bool) -> alt.LayerChart:
    axis = y_axis([row for each in of_panel for row in each.rows])
    scale = alt.Scale(domain=[axis.low, axis.high], type="log" if axis.log else "linear", nice=False)
    labels = alt.Axis(title=None, values=axis.ticks, labelExpr=SI if axis.high >= 1000 else PLAIN)
    color, shape, dash = _looks(paper)

    def y(field: str) -> alt.Y:
        return alt.Y(field, type="quantitative", scale=scale, axis=labels)

    base = alt.Chart(alt.NamedData(name=data)).encode(x=_x(paper, with_title=with_title))
    opacity = 0.2 if len(of_panel) <= 2 else 0.12
    layers = [
        base.mark_area(opacity=opacity).encode(y=y("ci_low"), y2="ci_high", color=color),
        *_constant_layers(of_panel[0], y),
        *_chance_layers(of_panel[0], paper, y),
        base.transform_filter("datum.alone")
        .mark_rule(strokeWidth=1.6)
        .encode(y=y("ci_low"), y2="ci_high", color=color),
        base.mark_line(strokeWidth=1.8).encode(y=y("value"), color=color, strokeDash=dash),
        base.mark_point(filled=True, size=42, opacity=1).encode(
            y=y("value"), color=color, shape=shape, tooltip=[alt.Tooltip.from_dict(one) for one in tooltip()]
        ),
        base.transform_filter("datum.best").mark_point(style="best", shape="circle").encode(y=y("value")),
    ]
    return alt.layer(
        *layers,
        width=paper.size.width,
        height=paper.size.height,
        title=_panel_title(of_panel, paper, log=axis.log),
    )


def _constant_layers(of: Curve, y: Callable[[str], alt.Y]) -> list[alt.Chart]:
    """Return the band that a model stays in if it only changes its favourite position."""
    if of.constant is None:
        return []
    low, high = of.constant
    return [
        alt.Chart(alt.Data(values=[{"lowest": low, "highest": high}]))
        .mark_rect(style="constant")
        .encode(y=y("lowest"), y2="highest")
    ]


def _chance_layers(of: Curve, paper: Paper, y: Callable[[str], alt.Y]) -> list[alt.Chart]:
    """Return the chance line, and its label in the right margin, where no curve can cross it."""
    if of.chance is None:
        return []
    label = [_("chance"), f"{of.chance:.3g}"]
    level = alt.Chart(alt.Data(values=[{"chance": of.chance, "label": label}]))
    return [
        level.mark_rule(style="chance").encode(y=y("chance")),
        level.mark_text(style="chance-label", x=paper.size.width + 5, dy=-5).encode(
            y=y("chance"), text="label:N"
        ),
    ]


def _x(paper: Paper, *, with_title: bool) -> alt.X:
    if paper.by_name:
        return alt.X("checkpoint:N", sort=None, title=None, axis=alt.Axis(**NAMES_AXIS))
    first, last = paper.steps[0], paper.steps[-1]
    if paper.log_x:
        ticks, scale = log_ticks(first, last), alt.Scale(type="log", nice=False, padding=8)
    else:
        air = (last - first) * 0.025 or max(1.0, first * 0.1)
        ticks = linear_ticks(first, last) if last > first else [first]
        scale = alt.Scale(domain=[first - air, last + air], nice=False)
    axis = alt.Axis(
        title=steps_title(in_tokens=paper.in_tokens) if with_title else None,
        grid=False,
        values=ticks,
        labelExpr=TOKENS if paper.in_tokens else SI,
        labelOverlap=True,
    )
    return alt.X("step:Q", scale=scale, axis=axis)


def _looks(paper: Paper) -> tuple[alt.Color, alt.Shape, alt.StrokeDash]:
    """Colour, shape and dash of every series; a legend of colours and shapes if there are several."""
    names = list(paper.series)
    legend = None
    if len(names) > 1:
        longest = max(map(len, names)) * 7 + 40
        fitting = max(1, paper.size.columns * paper.size.width // longest)
        columns = min(fitting, len(names))
        legend = {"title": None, "orient": "top", "direction": "horizontal", "columns": columns}
        legend["symbolSize"] = 110
    looks = looks_of("series", names, legend)
    return (
        alt.Color.from_dict(looks["color"]),
        alt.Shape.from_dict(looks["shape"]),
        alt.StrokeDash.from_dict(looks["strokeDash"]),
    )


def _panel_title(of_panel: list[Curve], paper: Paper, *, log: bool) -> alt.TitleParams:
    any_curve = of_panel[0]
    metric = metric_heading(any_curve.metric, any_curve.filter, any_curve.rows[0].higher_is_better)
    what = _("{metric} (log)", metric=metric) if log else metric
    best = _best_line(any_curve) if len(of_panel) == 1 else ""
    return alt.TitleParams(
        text=wrapped(for_reader(printable(any_curve.task)), paper.size.width // 8),
        subtitle=wrapped(" · ".join(filter(None, (what, best))), round(paper.size.width / 5.4)),
        frame="group",
        offset=6,
        limit=paper.size.width,  # a name that is spelt out, for want of a font, must not push panels apart
    )


def _best_line(of: Curve) -> str:
    if not of.measured:
        return _("no value at any checkpoint")
    best = best_row(of)
    if best is None:
        return value_text(of.measured[0]) if len(of.measured) == 1 else ""
    where = printable(best.checkpoint) if best.step is None else _("step {step}", step=best.step)
    return _("best {value} at {place}", value=value_text(best), place=where)
