"""Records and tooltips of the checkpoints on a curve, for every chart that draws curves."""

from __future__ import annotations

from typing import Any

from milepost.analysis.curves import Curve
from milepost.analysis.row import Row
from milepost.analysis.standing import best_row
from milepost.report.formatting import plus_minus
from milepost.text.language import _
from milepost.text.safe_text import printable

NAMES_AXIS = {"labelAngle": -30, "labelLimit": 160}
"""The x axis where checkpoints have names and no steps."""


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


def tooltip() -> list[dict[str, Any]]:
    """Return what a point says under the pointer."""
    return [
        {"field": "series", "type": "nominal", "title": _("series")},
        {"field": "checkpoint", "type": "nominal", "title": _("checkpoint")},
        {"field": "value_text", "type": "nominal", "title": _("value")},
        {"field": "docs", "type": "quantitative", "title": _("docs"), "format": ","},
    ]


def steps_title(*, in_tokens: bool) -> str:
    """Return the title of an x axis of steps."""
    return _("tokens") if in_tokens else _("step")
