"""Learning curves as Altair charts: one panel per metric, one line with its 95 % band per series.

Knows rows and Vega-Lite, not files. Importing it imports altair (0.5 s).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import altair as alt

from milepost.analysis.curves import Curve, curves
from milepost.analysis.row import Row
from milepost.analysis.standing import best_row
from milepost.report.charts.axes import linear_ticks, log_ticks, y_axis
from milepost.report.charts.theme import DASHES, LIGHT, PALETTE, SHAPES
from milepost.report.formatting import metric_heading, plus_minus, wrapped
from milepost.report.notes import listed
from milepost.report.transforms import with_missing_steps
from milepost.safe_text import printable
from milepost.types.picks import Picks

NO_CURVE = "one checkpoint: no curve"


SI = "format(datum.value, '~s')"
PLAIN = "format(datum.value, '~r')"
"""Label expressions, because an axis format would write 0 as `0k`."""
TOKENS = f"replace({SI}, 'G', 'B')"
"""Tokens are counted in billions, not in giga."""


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
    x_title: str


def curve(
    rows: Sequence[Row], *, title: str | None = None, log_x: bool = False, x_title: str = "step"
) -> alt.ConcatChart:
    """Return a chart of the rows: a panel for each task, metric and filter, in the order of the rows.

    Bands are 95 % intervals and break where a checkpoint has no value; a point without neighbours has an
    error bar. Every y axis follows `axes.y_axis`. What is not drawn is said in the subtitle; see `remarks`.

    Args:
        rows: what to draw, every row of it; at least one.
        title: heading; by default the name of the series, or how many there are.
        log_x: steps on a log axis; step 0 is left out, unless there is no other.
        x_title: what is counted along the x axis.
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
        x_title=x_title,
    )
    first_of_last_row = len(panels) - paper.size.columns
    chart = alt.concat(
        *(
            _panel(of_panel, paper, f"panel-{i}", x_title=i >= first_of_last_row)
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


def remarks(rows: Sequence[Row], *, log_x: bool = False) -> list[str]:
    """Return a line for each thing that a chart of the rows does not or cannot show."""
    steps = {(row.series, row.checkpoint): row.step for row in rows}
    lines = gaps(rows)
    without = [name for (_, name), step in steps.items() if step is None]
    if without and len(without) < len(steps):
        lines.append(f"not drawn, no step in the name: {', '.join(map(printable, without))}")
    if log_x and 0 in steps.values() and reaches_beyond_0(rows):
        lines.append("not drawn, a log axis has no place for it: step 0")
    return lines


def gaps(rows: Sequence[Row]) -> list[str]:
    """Return a line if the rows make no curve, and a line that names checkpoints without values."""
    places = {(row.series, row.checkpoint): False for row in with_missing_steps(rows)}
    places |= {(row.series, row.checkpoint): True for row in rows if row.n}
    lacking = [name for (_, name), is_measured in places.items() if not is_measured]
    lines = [NO_CURVE] if list(places.values()).count(True) == 1 else []
    return [*lines, f"gap, no metrics: {listed(lacking)}"] if lacking else lines


def reaches_beyond_0(rows: Sequence[Row]) -> bool:
    """Return whether there is a step that a log axis has a place for."""
    return any(row.step for row in rows)


def drawable(rows: Sequence[Row], *, log_x: bool) -> list[Row]:
    """Return the rows that have a place on the x axis."""
    if all(row.step is None for row in rows):
        return list(rows)
    return [row for row in rows if row.step is not None and (row.step > 0 or not log_x)]


def _size(panels: int) -> Size:
    if panels == 1:
        return Size(1, 620, 340)
    if panels in (2, 4):
        return Size(2, 400, 240)
    return Size(3, 300, 180) if panels <= 24 else Size(4, 200, 140)


def name_of(rows: Sequence[Row | Picks], title: str | None = None) -> str:
    """Return the title, or by default the name of the series or the number of series."""
    series = list(dict.fromkeys(printable(row.series) for row in rows))
    return title or (series[0] if len(series) == 1 else f"{len(series)} training runs")


def heading(text: str, width: int, below: Sequence[str] = ()) -> alt.TitleParams:
    """Return the title of a chart that is `width` pixels wide, with lines below it."""
    return alt.TitleParams(
        text=wrapped(printable(text), width // 9),
        subtitle=list(below),
        anchor="start",
        fontSize=16,
        subtitleFontSize=11,
        offset=14,
    )


def _heading(text: str, drawn: Sequence[Curve], notes: Sequence[str], size: Size) -> alt.TitleParams:
    width = size.columns * size.width
    lines = [line for note in notes for line in wrapped(note, width // 6)]
    return heading(text, width, [" · ".join(marks(drawn)), *lines])


def marks(drawn: Iterable[Curve]) -> list[str]:
    """Return what the marks of these curves mean, those that are there."""
    longer = [each for each in drawn if len(each.measured) > 1]
    meanings = {
        "shaded: 95 % interval": any(row.ci_low is not None for each in longer for row in each.rows),
        "bar: 95 % interval": any(each.rows[0].ci_low is not None for each in drawn if len(each.rows) == 1),
        "dashed: chance": any(each.chance is not None for each in drawn),
        "grey: a constant answer (A, B, ...)": any(each.constant is not None for each in drawn),
        "ringed: best": any(best_row(each) is not None for each in longer),
    }
    return [meaning for meaning, is_there in meanings.items() if is_there]


# ---- one panel -----------------------------------------------------------------------------------------


def _panel(of_panel: list[Curve], paper: Paper, data: str, *, x_title: bool) -> alt.LayerChart:
    axis = y_axis([row for each in of_panel for row in each.rows])
    scale = alt.Scale(
        domain=[axis.low, axis.high], type="log" if axis.log else "linear", nice=False, zero=False
    )
    labels = alt.Axis(title=None, values=axis.ticks, labelExpr=SI if axis.high >= 1000 else PLAIN)
    color, shape, dash = _looks(paper)

    def y(field: str) -> alt.Y:
        return alt.Y(field, type="quantitative", scale=scale, axis=labels)

    base = alt.Chart(alt.NamedData(name=data)).encode(x=_x(paper, with_title=x_title))
    opacity = 0.2 if len(of_panel) <= 2 else 0.12
    layers = [
        base.mark_area(opacity=opacity).encode(y=y("ci_low"), y2="ci_high", color=color),
        *constant_layers(of_panel[0], y),
        *_chance_layers(of_panel[0], paper, y),
        base.transform_filter("datum.alone")
        .mark_rule(strokeWidth=1.6)
        .encode(y=y("ci_low"), y2="ci_high", color=color),
        base.mark_line(strokeWidth=1.8).encode(y=y("value"), color=color, strokeDash=dash),
        base.mark_point(filled=True, size=42, opacity=1).encode(
            y=y("value"), color=color, shape=shape, tooltip=tooltip()
        ),
        base.transform_filter("datum.best").mark_point(style="best", shape="circle").encode(y=y("value")),
    ]
    return alt.layer(
        *layers,
        width=paper.size.width,
        height=paper.size.height,
        title=_panel_title(of_panel, paper, log=axis.log),
    )


def records_of(of: Curve) -> list[dict[str, Any]]:
    """Return what is drawn of a curve: a record per checkpoint."""
    values = [row.value for row in of.rows]
    around = zip([None, *values], [*values[1:], None], strict=False)
    best = best_row(of)
    return [
        {
            "series": printable(row.series),
            "checkpoint": printable(row.checkpoint),
            "step": row.step,
            "value": row.value,
            "ci_low": row.ci_low,
            "ci_high": row.ci_high,
            "value_text": None if row.value is None else value_text(row),
            "docs": row.n,
            "alone": row.ci_low is not None and before is None and after is None,
            "best": row is best,
        }
        for row, (before, after) in zip(of.rows, around, strict=False)
    ]


def value_text(row: Row) -> str:
    """Return the value and interval of a row that has a value, as text."""
    assert row.value is not None
    return plus_minus(row.value, row.ci_low, row.ci_high, row.metric)


def constant_layers(of: Curve, y: Callable[[str], alt.Y]) -> list[alt.Chart]:
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
    label = ["chance", f"{of.chance:.3g}"]
    level = alt.Chart(alt.Data(values=[{"chance": of.chance, "label": label}]))
    return [
        level.mark_rule(style="chance").encode(y=y("chance")),
        level.mark_text(style="chance-label", x=paper.size.width + 5, dy=-5).encode(
            y=y("chance"), text="label:N"
        ),
    ]


def _x(paper: Paper, *, with_title: bool) -> alt.X:
    if paper.by_name:
        return alt.X("checkpoint:N", sort=None, title=None, axis=alt.Axis(labelAngle=-30, labelLimit=160))
    first, last = paper.steps[0], paper.steps[-1]
    if paper.log_x:
        ticks, scale = log_ticks(first, last), alt.Scale(type="log", nice=False, padding=8)
    else:
        air = (last - first) * 0.025 or max(1.0, first * 0.1)
        ticks = linear_ticks(first, last) if last > first else [first]
        scale = alt.Scale(domain=[first - air, last + air], nice=False)
    label = SI if paper.x_title == "step" else TOKENS
    title = paper.x_title if with_title else None
    axis = alt.Axis(title=title, grid=False, values=ticks, labelExpr=label, labelOverlap=True)
    return alt.X("step:Q", scale=scale, axis=axis)


def _looks(paper: Paper) -> tuple[alt.Color, alt.Shape, alt.StrokeDash]:
    """Colour, shape and dash of every series; a legend of colours and shapes if there are several."""
    names = list(paper.series)
    legend = None
    if len(names) > 1:
        longest = max(map(len, names)) * 7 + 40
        fitting = max(1, paper.size.columns * paper.size.width // longest)
        legend = alt.Legend(
            title=None, orient="top", direction="horizontal", columns=min(fitting, len(names)), symbolSize=110
        )

    return looks_of(names, legend)


def looks_of(names: Sequence[str], legend: alt.Legend | None) -> tuple[alt.Color, alt.Shape, alt.StrokeDash]:
    """Return colour, shape and dash of the series of these names."""

    def scale(looks: Sequence[Any]) -> alt.Scale:
        return alt.Scale(domain=list(names), range=[looks[i % len(looks)] for i in range(len(names))])

    return (
        alt.Color("series:N", scale=scale(PALETTE), legend=legend),
        alt.Shape("series:N", scale=scale(SHAPES), legend=legend),
        alt.StrokeDash("series:N", scale=scale(DASHES), legend=legend),
    )


def tooltip() -> list[alt.Tooltip]:
    """Return what a point says under the pointer."""
    return [
        alt.Tooltip("series:N"),
        alt.Tooltip("checkpoint:N"),
        alt.Tooltip("value_text:N", title="value"),
        alt.Tooltip("docs:Q", format=","),
    ]


def _panel_title(of_panel: list[Curve], paper: Paper, *, log: bool) -> alt.TitleParams:
    any_curve = of_panel[0]
    metric = metric_heading(any_curve.metric, any_curve.filter, any_curve.rows[0].higher_is_better)
    what = f"{metric} (log)" if log else metric
    best = _best_line(any_curve) if len(of_panel) == 1 else ""
    return alt.TitleParams(
        text=wrapped(printable(any_curve.task), paper.size.width // 8),
        subtitle=wrapped(" · ".join(filter(None, (what, best))), round(paper.size.width / 5.4)),
        frame="group",
        offset=6,
        limit=paper.size.width,  # a name that is spelt out, for want of a font, must not push panels apart
    )


def _best_line(of: Curve) -> str:
    if not of.measured:
        return "no value at any checkpoint"
    best = best_row(of)
    if best is None:
        return value_text(of.measured[0]) if len(of.measured) == 1 else ""
    where = f"step {best.step}" if best.step is not None else printable(best.checkpoint)
    return f"best {value_text(best)} at {where}"
