"""The lines of a sparkline as SVG paths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from milepost.report.blocks import Sparkline

WIDTH, HEIGHT, AIR = 240.0, 48.0, 4.0


class Paths(NamedTuple):
    """The `d` of each path, in a box of `width` x `height`."""

    width: float
    height: float
    lines: list[str]
    bands: list[str]
    level: str
    last: str
    """A point at the last value: a line of no length with round ends."""


def paths(sparkline: Sparkline) -> Paths:
    """Return what to draw; a value that is None breaks line and band."""
    values = sparkline.values
    ends = [*values, *sparkline.lows, *sparkline.highs, sparkline.level]
    known = [value for value in ends if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    places = sparkline.places or tuple(map(float, range(len(values))))
    first, reach = min(places, default=0.0), (max(places, default=1.0) - min(places, default=0.0)) or 1.0

    def x(place: float) -> str:
        return f"{AIR + (place - first) / reach * (WIDTH - 2 * AIR):.1f}"

    def y(value: float) -> str:
        share = (value - low) / (high - low) if high > low else 0.5
        return f"{HEIGHT - AIR - share * (HEIGHT - 2 * AIR):.1f}"

    def line(points: Sequence[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{x(place)} {y(value)}" for place, value in points)

    runs = _runs(places, values)
    lows, highs = _runs(places, sparkline.lows), _runs(places, sparkline.highs)
    return Paths(
        WIDTH,
        HEIGHT,
        [line(run) for run in runs],
        [f"{line(above)}L{line(below[::-1])[1:]}Z" for above, below in zip(highs, lows, strict=True)],
        "" if sparkline.level is None else f"M0 {y(sparkline.level)}H{WIDTH:g}",
        f"{line(runs[-1][-1:])}h0" if runs else "",
    )


def _runs(places: Sequence[float], values: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Return the points between the gaps."""
    points = zip(places, values, strict=False)
    return [
        [(place, value) for place, value in run if value is not None]
        for known, run in groupby(points, key=lambda point: point[1] is not None)
        if known
    ]
