"""Charts of a comparison: differences with their intervals, and zeros layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from milepost.analysis.metric_kinds import is_proportion
from milepost.analysis.verdicts import MetricDifference
from milepost.report.charts.theme import LIGHT, PALETTE, SHAPES
from milepost.report.comparison.study import Study
from milepost.report.formatting import metric_name, wrapped
from milepost.safe_text import printable

_COLORS = {
    "worse": PALETTE[1],
    "better": PALETTE[2],
    "not distinguishable": PALETTE[6],
    "too few docs to tell": PALETTE[3],
    "different": PALETTE[0],
}
_WIDTH = 520
_ROW = 26
_LABEL = 230
"""Pixels for the names of tasks."""


def comparison_chart(study: Study) -> alt.VConcatChart | None:
    """Return differences of all tasks and the sparsity of each layer; None where there is nothing to draw."""
    panels = [*_difference_panels(study), *_sparsity_panel(study)]
    if not panels:
        return None
    chart = alt.vconcat(
        *panels,
        spacing=30,
        title=alt.TitleParams(
            text=wrapped(f"What changed from {study.label(study.original)}", 70),
            subtitle=["bar: 95 % interval of the paired difference · colour: verdict after Holm"],
            anchor="start",
            fontSize=16,
            subtitleFontSize=11,
            offset=14,
        ),
        config=LIGHT,
        padding=14,
    )
    return chart.resolve_scale(color="independent", shape="independent")


# ---- differences ---------------------------------------------------------------------------------------


def _difference_panels(study: Study) -> list[alt.LayerChart]:
    """Return a panel of shares, in points, and one of other metrics, in % of the original."""
    compared = [
        (study.label(variant.model), one) for variant in study.variants for one in variant.comparison.tasks
    ]
    points = [(name, one) for name, one in compared if is_proportion(one.metric)]
    relative = [(name, one) for name, one in compared if not is_proportion(one.metric) and one.original != 0]
    panels = []
    if points:
        rows = [_record(name, one, 100.0) for name, one in points]
        panels.append(_forest(study, rows, "difference in points of a hundred (right of 0 is better)"))
    if relative:
        rows = [_record(name, one, 100.0 / abs(one.original)) for name, one in relative]
        panels.append(_forest(study, rows, "change in % of the original; for perplexities, less is better"))
    return panels


def _record(variant: str, one: MetricDifference, unit: float) -> dict[str, Any]:
    low, high = one.interval
    return {
        "task": printable(f"{one.task} {metric_name(one.metric, one.filter)}"),
        "variant": variant,
        "difference": one.difference * unit,
        "low": None if low is None else low * unit,
        "high": None if high is None else high * unit,
        "verdict": one.verdict,
        "docs": one.docs.common,
    }


def _forest(study: Study, rows: Sequence[dict[str, Any]], title: str) -> alt.LayerChart:
    names = [study.label(variant.model) for variant in study.variants]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    verdicts = [verdict for verdict in _COLORS if any(row["verdict"] == verdict for row in rows)]
    color = alt.Color(
        "verdict:N",
        scale=alt.Scale(domain=verdicts, range=[_COLORS[one] for one in verdicts]),
        legend=alt.Legend(title=None, orient="top", symbolSize=110),
    )
    shape = alt.Shape(
        "variant:N",
        scale=alt.Scale(domain=names, range=[SHAPES[i % len(SHAPES)] for i in range(len(names))]),
        legend=alt.Legend(title=None, orient="top", symbolSize=110) if len(names) > 1 else None,
    )
    y = alt.Y("task:N", sort=tasks, title=None, axis=alt.Axis(labelLimit=_LABEL, grid=False))
    offset = alt.YOffset("variant:N", sort=names) if len(names) > 1 else alt.YOffset()
    x = alt.X("difference:Q", title=title, scale=alt.Scale(zero=True))
    base = alt.Chart(alt.Data(values=list(rows))).encode(y=y, color=color)
    if len(names) > 1:
        base = base.encode(yOffset=offset)
    return alt.layer(
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(style="chance").encode(x="zero:Q"),
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2)
        .encode(x=alt.X("low:Q", title=title), x2="high:Q"),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=x, shape=shape, tooltip=_tooltip()),
        width=_WIDTH,
        height=max(60, _ROW * len(tasks) * max(1, round(0.7 * len(names)))),
    )


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("task:N"),
        alt.Tooltip("variant:N"),
        alt.Tooltip("difference:Q", format=".3f"),
        alt.Tooltip("low:Q", format=".3f"),
        alt.Tooltip("high:Q", format=".3f"),
        alt.Tooltip("verdict:N"),
        alt.Tooltip("docs:Q", format=","),
    ]


# ---- sparsity ------------------------------------------------------------------------------------------


def _sparsity_panel(study: Study) -> list[alt.Chart]:
    """Return a point per linear layer, in the order of the files, of every model that has zeros."""
    rows = [
        {
            "model": study.label(model),
            "place": place,
            "layer": printable(layer.name),
            "share": layer.share,
            "pattern": layer.pattern,
        }
        for model in study.models
        if model.sparsity is not None and any(layer.zeros for layer in model.sparsity.layers)
        for place, layer in enumerate(model.sparsity.layers)
    ]
    if not rows:
        return []
    names = list(dict.fromkeys(row["model"] for row in rows))
    return [
        alt.Chart(alt.Data(values=rows), width=_WIDTH, height=150)
        .mark_point(filled=False, size=44, strokeWidth=1.4, opacity=1)
        .encode(
            x=alt.X("place:Q", title="linear layer, in the order of the files", scale=alt.Scale(nice=False)),
            y=alt.Y(
                "share:Q", title="share of zeros", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")
            ),
            color=alt.Color(
                "model:N",
                scale=alt.Scale(domain=names, range=[PALETTE[i % len(PALETTE)] for i in range(len(names))]),
                legend=alt.Legend(title=None, orient="top", symbolSize=110, symbolStrokeWidth=1.4),
            ),
            shape=alt.Shape(
                "model:N",
                scale=alt.Scale(domain=names, range=[SHAPES[i % len(SHAPES)] for i in range(len(names))]),
                legend=None,
            ),
            tooltip=["model:N", "layer:N", alt.Tooltip("share:Q", format=".2%"), "pattern:N"],
        )
    ]
