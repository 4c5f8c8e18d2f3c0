"""Charts of a comparison as Vega-Lite: differences with their intervals, and zeros layer by layer."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from milepost.analysis.metric_kinds import is_ratio_scale, value_range
from milepost.analysis.verdicts import MetricDifference
from milepost.report.charts.axes import linear_ticks, log_ticks
from milepost.report.charts.theme import PALETTE, looks_of
from milepost.report.comparison.study import ReportedModel, Study
from milepost.report.formatting import metric_name
from milepost.report.translation import word
from milepost.text.language import _
from milepost.text.safe_text import printable
from milepost.types.sparsity import Sparsity

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
Spec = dict[str, Any]


class Panel(NamedTuple):
    """Differences in one unit."""

    compared: list[tuple[str, MetricDifference]]
    """Names of the models that are not the original, and what is drawn of them."""
    chart: Spec


# ---- differences ---------------------------------------------------------------------------------------


def difference_panels(study: Study) -> list[Panel]:
    """Return a panel of scores, in points, one of perplexities, as ratios, and one of others, in per cent."""
    compared = [
        (study.label(variant.model), one) for variant in study.variants for one in variant.comparison.tasks
    ]
    points = [(name, one) for name, one in compared if _top(one) is not None]
    ratios = [(name, one) for name, one in compared if is_ratio_scale(one.metric) and one.original > 0]
    relative = [
        (name, one)
        for name, one in compared
        if _top(one) is None and not is_ratio_scale(one.metric) and one.original != 0
    ]
    panels = []
    if points:
        rows = [_record(name, one, 100.0 / (_top(one) or 1.0)) for name, one in points]
        title = _("difference in points of a hundred (right of 0 is better)")
        panels.append(Panel(points, _forest(study, rows, title)))
    if ratios:
        rows = [_ratio(_record(name, one, 1.0 / one.original)) for name, one in ratios]
        title = _("perplexity as a multiple of the original's (left of 1 is better)")
        panels.append(Panel(ratios, _forest(study, rows, title, same=1.0)))
    if relative:
        rows = [_record(name, one, 100.0 / abs(one.original)) for name, one in relative]
        panels.append(Panel(relative, _forest(study, rows, _("change in % of the original"))))
    return panels


def _top(one: MetricDifference) -> float | None:
    """Return the best possible value of a metric that has one, such as 1, or 100 for a score in per cent."""
    top = 100.0 if one.in_percent else value_range(one.metric)[1]
    return top if one.higher_is_better and math.isfinite(top) else None


def _record(variant: str, one: MetricDifference, unit: float) -> dict[str, Any]:
    low, high = one.interval
    return {
        "task": printable(f"{one.task} {metric_name(one.metric, one.filter)}"),
        "variant": variant,
        "difference": one.difference * unit,
        "low": None if low is None else low * unit,
        "high": None if high is None else high * unit,
        "verdict": word(one.verdict),
        "docs": one.docs.common,
    }


def _ratio(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with ratios in place of relative differences; no interval that reaches to 0."""
    low, high = record["low"], record["high"]
    ends = (None, None) if low is None or high is None or low <= -1 else (1 + low, 1 + high)
    return record | {"difference": 1 + record["difference"], "low": ends[0], "high": ends[1]}


def _forest(study: Study, rows: Sequence[dict[str, Any]], title: str, *, same: float = 0.0) -> Spec:
    """Return a marker with its interval for each row.

    Args:
        same: where equal models stand: 0, or 1 on a log axis of ratios.
    """
    names = [study.label(variant.model) for variant in study.variants]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    colors = {word(verdict): color for verdict, color in _COLORS.items()}
    verdicts = [verdict for verdict in colors if any(row["verdict"] == verdict for row in rows)]
    ends = _ratios_shown(rows) if same else []
    x = {
        "type": "quantitative",
        # Two lines that end where the panel does: on a phone it is narrower than they, beside the names.
        "title": re.split(r" (?=\()|(?=（)", title),
        "scale": {"type": "log", "domain": ends, "nice": False} if same else {"zero": True},
        "axis": {"titleAnchor": "end", **({"values": _ticks(ends), "format": "~g"} if same else {})},
    }
    y = {
        "field": "task",
        "type": "nominal",
        "sort": tasks,
        "title": None,
        "axis": {"labelLimit": _LABEL, "grid": False},
    }
    color = {
        "field": "verdict",
        "type": "nominal",
        "scale": {"domain": verdicts, "range": [colors[one] for one in verdicts]},
        "legend": {"title": None, "orient": "top", "symbolSize": 110},
    }
    shape = looks_of("variant", names, _legend(names) if len(names) > 1 else None)["shape"]
    offset = {"yOffset": {"field": "variant", "type": "nominal", "sort": names}} if len(names) > 1 else {}
    place = {"y": y, **offset, "color": color}
    low, high = {"field": "low", **x}, {"field": "high"}
    point = {"field": "difference", **x}
    data = {"values": list(rows)}
    return {
        "width": _WIDTH,
        "height": max(60, _ROW * len(tasks) * max(1, round(0.7 * len(names)))),
        "layer": [
            {
                "data": {"values": [{"same": same}]},
                "mark": {"type": "rule", "style": "chance"},
                "encoding": {"x": {"field": "same", "type": "quantitative"}},
            },
            {
                "data": data,
                "transform": [{"filter": "isValid(datum.low)"}],
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": low, "x2": high, **place},
            },
            {
                "data": data,
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {"x": point, "shape": shape, "tooltip": _tooltip(), **place},
            },
        ],
    }


def _ratios_shown(rows: Sequence[dict[str, Any]]) -> list[float]:
    """Return the ends of a log axis that shows every ratio, its interval, and 1."""
    shown = [
        1.0,
        *(row[end] for row in rows for end in ("difference", "low", "high") if row[end] is not None),
    ]
    air = max((max(shown) / min(shown)) ** 0.05, 1.02)
    return [min(shown) / air, max(shown) * air]


def _ticks(ends: Sequence[float]) -> list[float]:
    low, high = ends
    return log_ticks(low, high) if high / low > 10 else linear_ticks(low, high)


def _legend(names: Sequence[str]) -> Spec:
    """Return a legend above a panel that is not wider than the panel."""
    longest = max(map(len, names)) * 7 + 40
    fitting = max(1, _WIDTH // longest)
    return {"title": None, "orient": "top", "symbolSize": 110, "columns": min(fitting, len(names))}


def _tooltip() -> list[Spec]:
    return [
        {"field": "task", "type": "nominal", "title": _("task")},
        {"field": "variant", "type": "nominal", "title": _("model")},
        {"field": "difference", "type": "quantitative", "title": _("difference"), "format": ".3f"},
        {"field": "low", "type": "quantitative", "title": _("from"), "format": ".3f"},
        {"field": "high", "type": "quantitative", "title": _("to"), "format": ".3f"},
        {"field": "verdict", "type": "nominal", "title": _("verdict")},
        {"field": "docs", "type": "quantitative", "title": _("docs"), "format": ","},
    ]


# ---- sparsity ------------------------------------------------------------------------------------------


def sparse_models(study: Study) -> list[tuple[ReportedModel, Sparsity]]:
    """Return the models that have zeros in a linear layer."""
    counted = [(model, model.sparsity) for model in study.models if model.sparsity is not None]
    return [(model, sparsity) for model, sparsity in counted if any(layer.zeros for layer in sparsity.layers)]


def sparsity_chart(study: Study) -> Spec | None:
    """Return a point per linear layer, in the order of the files, of every model that has zeros."""
    rows = [
        {
            "model": study.label(model),
            "place": place,
            "layer": printable(layer.name),
            "share": layer.share,
            "pattern": layer.pattern,
        }
        for model, sparsity in sparse_models(study)
        for place, layer in enumerate(sparsity.layers)
    ]
    if not rows:
        return None
    names = list(dict.fromkeys(str(row["model"]) for row in rows))

    legend = {"title": None, "orient": "top", "symbolSize": 110, "symbolStrokeWidth": 1.4}
    looks = looks_of("model", names, legend)
    return {
        "data": {"values": rows},
        "width": _WIDTH,
        "height": 150,
        "mark": {"type": "point", "filled": False, "size": 44, "strokeWidth": 1.4, "opacity": 1},
        "encoding": {
            "x": {
                "field": "place",
                "type": "quantitative",
                "title": _("linear layer, in the order of the files"),
                "scale": {"nice": False},
            },
            "y": {
                "field": "share",
                "type": "quantitative",
                "title": _("share of zeros"),
                "scale": {"domain": [0, 1]},
                "axis": {"format": "%"},
            },
            "color": looks["color"],
            "shape": looks["shape"],
            "tooltip": [
                {"field": "model", "type": "nominal", "title": _("model")},
                {"field": "layer", "type": "nominal", "title": _("layer")},
                {"field": "share", "type": "quantitative", "title": _("share"), "format": ".2%"},
                {"field": "pattern", "type": "nominal", "title": _("pattern")},
            ],
        },
    }
