"""Choose the range and ticks of a chart's axes; the y axis must not make noise look like progress."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from milepost.analysis.metric_kinds import is_ratio_scale, value_range
from milepost.analysis.row import Row

SI = "format(datum.value, '~s')"
PLAIN = "format(datum.value, '~r')"
"""Label expressions, because an axis format would write 0 as `0k`."""
TOKENS = f"replace({SI}, 'G', 'B')"
"""Tokens are counted in billions, not in giga."""

SMALLEST_SHARE = 0.2
"""An axis shows at least this share of a bounded metric's range, or of the largest value of an unbounded one:
an accuracy axis spans 0.2 or more."""
_PADDING = 0.06
_NO_TICK_ABOVE = 0.03
"""Share of the axis at its top where a tick's label would push the panel's title up."""
_SMALLEST_RATIO = 1.25
"""A log axis spans at least this factor."""
_POWERS_FROM_RATIO = 10.0
"""Ticks of a log axis that spans less are at equal distances in the metric."""


class YAxis(NamedTuple):
    """Ends of a y axis in the metric's unit."""

    low: float
    high: float
    log: bool
    ticks: list[float]


def y_axis(rows: Sequence[Row], *, also: Sequence[float] = ()) -> YAxis:
    """Return the y axis of one panel: it shows every value, band and chance line, with a margin.

    It spans at least `SMALLEST_SHARE`, and does not leave the metric's range. A perplexity gets a log axis:
    equal ratios are equal distances.

    Args:
        rows: of one metric; at least one.
        also: more values that it shows.
    """
    values = [*_shown(rows), *also]
    lowest, highest = value_range(rows[0].metric, values)
    shown = values or [max(lowest, 0.0)]
    low, high = min(shown), max(shown)
    if is_ratio_scale(rows[0].metric) and low > 0:
        air = max((high / low) ** _PADDING, math.sqrt(_SMALLEST_RATIO * low / high))
        low, high = low / air, high * air
        top = high / (high / low) ** _NO_TICK_ABOVE
        ticks = log_ticks(low, top) if high / low > _POWERS_FROM_RATIO else linear_ticks(low, top)
        return YAxis(low, high, log=True, ticks=ticks)
    span = _least_span(low, high, lowest, highest)
    air = (high - low) * _PADDING
    low, high = _widened(low - air, high + air, span, lowest, highest)
    return YAxis(low, high, log=False, ticks=linear_ticks(low, high - (high - low) * _NO_TICK_ABOVE))


def linear_ticks(first: float, last: float) -> list[float]:
    """Return three to seven round numbers from `first` to `last`."""
    rough = (last - first) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(part * power for part in (1, 2, 5, 10) if part * power >= 0.75 * rough)
    begin, end = math.ceil(first / step - 1e-9), math.floor(last / step + 1e-9)
    # A rounding error must not put a tick outside of the axis.
    return [min(max(float(f"{i * step:.12g}"), first), last) for i in range(begin, end + 1)]


def log_ticks(first: float, last: float) -> list[float]:
    """Return at most eight ticks for a log axis: powers of ten, with steps between them if there is room."""
    powers = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
    for parts in ((1, 2, 5), (1, 3), (1,)):
        ticks = [part * 10.0**power for power in powers for part in parts]
        inside = [tick for tick in ticks if first <= tick <= last]
        if len(inside) <= 8:
            break
    return inside if len(inside) > 1 else sorted({first, last})


def _shown(rows: Iterable[Row]) -> Iterable[float]:
    for row in rows:
        ends = (row.value, row.ci_low, row.ci_high, row.chance, *(row.constant or ()))
        yield from (x for x in ends if x is not None)


def _least_span(low: float, high: float, lowest: float, highest: float) -> float:
    if math.isfinite(lowest) and math.isfinite(highest):
        return SMALLEST_SHARE * (highest - lowest)
    return SMALLEST_SHARE * max(abs(low), abs(high)) or 1.0


def _widened(low: float, high: float, span: float, lowest: float, highest: float) -> tuple[float, float]:
    """Widen around the middle to `span`, then move back into the range rather than shrink."""
    missing = max(0.0, span - (high - low))
    low, high = low - missing / 2, high + missing / 2
    if low < lowest:
        low, high = lowest, max(high, lowest + span)
    if high > highest:
        low, high = max(lowest, min(low, highest - span)), highest
    return low, high
