"""The probabilities of the choices of one question through training, a line per choice."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from milepost.language import _
from milepost.report.charts.axes import SI
from milepost.report.charts.theme import DASHES, LIGHT, PALETTE, SHAPES
from milepost.report.formatting import step_label

HEIGHT = 240
SMALLEST = 1e-30
"""Of a probability on a log axis, which has no place for 0."""
_SHARES = alt.Scale(domain=[0, 1])
DATA = "choices"


def choice_curves(
    names: Sequence[str],
    right: Sequence[int],
    checkpoints: Sequence[tuple[str, int | None]],
    probabilities: Sequence[Sequence[float] | None],
    *,
    log: bool = False,
) -> alt.Chart:
    """Return a chart as wide as its place; the lines of right choices are thicker.

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

    def scale(looks: Sequence[object]) -> alt.Scale:
        return alt.Scale(domain=list(names), range=[looks[i % len(looks)] for i in range(len(names))])

    names_axis = alt.Axis(labelAngle=-30, labelLimit=160)
    steps_axis = alt.Axis(grid=False, tickCount=6, labelExpr=SI)
    x = (
        alt.X("checkpoint:N", sort=None, title=None, axis=names_axis)
        if by_name
        else alt.X("step:Q", title=_("step"), axis=steps_axis)
    )
    legend = alt.Legend(title=None, orient="top", direction="horizontal", symbolSize=90)
    chart = (
        alt.Chart(alt.NamedData(name=DATA), width="container", height=HEIGHT)
        .mark_line(point=alt.OverlayMarkDef(size=34, filled=True))
        .encode(
            x=x,
            y=alt.Y(
                "probability:Q",
                title=None,
                scale=_scale(lowest) if log else _SHARES,
                axis=alt.Axis(tickCount=5),
            ),
            color=alt.Color("choice:N", scale=scale(PALETTE), legend=legend),
            shape=alt.Shape("choice:N", scale=scale(SHAPES), legend=legend),
            strokeDash=alt.StrokeDash("choice:N", scale=scale(DASHES), legend=legend),
            strokeWidth=alt.condition("datum.right", alt.value(3), alt.value(1.4)),
            tooltip=[
                alt.Tooltip("choice:N", title=_("choice")),
                alt.Tooltip("checkpoint:N", title=_("checkpoint")),
                alt.Tooltip("probability:Q", title=_("probability"), format=".4f"),
            ],
        )
        .properties(config=LIGHT, autosize=alt.AutoSizeParams(type="fit", contains="padding"))
    )
    chart.datasets = {
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
    }
    return chart


def _scale(lowest: float) -> alt.Scale:
    """Return a log axis from below the lowest probability to 1."""
    return alt.Scale(type="log", domain=[min(lowest / 2, 0.1), 1], nice=False)
