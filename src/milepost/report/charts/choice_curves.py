"""The probabilities of the choices of one question through training, a line per choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from milepost.report.charts.axes import SI
from milepost.report.charts.curve_marks import NAMES_AXIS
from milepost.report.charts.theme import FITTED, looks_of
from milepost.report.formatting import step_label
from milepost.text.language import _

HEIGHT = 240
SMALLEST = 1e-30
"""Smallest probability drawn: a log axis has no place for 0."""
DATA = "choices"


def choice_curves(
    names: Sequence[str],
    right: Sequence[int],
    checkpoints: Sequence[tuple[str, int | None]],
    probabilities: Sequence[Sequence[float] | None],
    *,
    log: bool = False,
) -> dict[str, Any]:
    """Return the spec of a chart as wide as its place; the lines of right choices are thicker.

    Args:
        names: [C] of the choices.
        right: positions of the right choices.
        checkpoints: [S] names and steps.
        probabilities: [S] of [C]; None where a checkpoint has none.
        log: probabilities on a log axis, for texts that are unlikely as a whole.
    """
    if log:
        probabilities = [of and [max(each, SMALLEST) for each in of] for of in probabilities]
    lowest = min((each for of in probabilities for each in of or ()), default=1.0)
    by_name = any(step is None for _, step in checkpoints)
    of_names = {"field": "checkpoint", "type": "nominal", "sort": None, "title": None, "axis": NAMES_AXIS}
    of_steps = {
        "field": "step",
        "type": "quantitative",
        "title": _("step"),
        "axis": {"grid": False, "tickCount": 6, "labelExpr": SI},
    }
    legend = {"title": None, "orient": "top", "direction": "horizontal", "symbolSize": 90}
    return {
        "data": {"name": DATA},
        "width": "container",
        "height": HEIGHT,
        "autosize": FITTED,
        "mark": {"type": "line", "point": {"size": 34, "filled": True}},
        "encoding": {
            "x": of_names if by_name else of_steps,
            "y": {
                "field": "probability",
                "type": "quantitative",
                "title": None,
                "scale": _scale(lowest) if log else {"domain": [0, 1]},
                "axis": {"tickCount": 5},
            },
            **looks_of("choice", names, legend),
            "strokeWidth": {"condition": {"test": "datum.right", "value": 3}, "value": 1.4},
            "tooltip": [
                {"field": "choice", "type": "nominal", "title": _("choice")},
                {"field": "checkpoint", "type": "nominal", "title": _("checkpoint")},
                {
                    "field": "probability",
                    "type": "quantitative",
                    "title": _("probability"),
                    "format": ".4f",
                },
            ],
        },
        "datasets": {
            DATA: [
                {
                    "choice": name,
                    "right": position in right,
                    "checkpoint": step_label(step, checkpoint),
                    "step": step,
                    "probability": of[position],
                }
                for (checkpoint, step), of in zip(checkpoints, probabilities, strict=True)
                if of is not None
                for position, name in enumerate(names)
            ]
        },
    }


def _scale(lowest: float) -> dict[str, Any]:
    """Return a log axis from below the lowest probability to 1."""
    return {"type": "log", "domain": [min(lowest / 2, 0.1), 1], "nice": False}
