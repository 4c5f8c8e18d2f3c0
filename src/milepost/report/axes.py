"""How far the axes of a chart reach. The y axis must not make noise look like progress."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from milepost.analysis.metrics import is_ratio_scale, value_range
from milepost.analysis.row import Row

SMALLEST_SHARE = 0.205
"""An axis shows at least this share of a bounded metric's range, or of the largest value of an unbounded one:
an accuracy axis spans 0.2, and a little more, so that a tick label at its very end does not stick out."""
_PADDING = 0.06
_LOG_FROM_RATIO = 10.0


class YAxis(NamedTuple):
    """Ends of a y axis in the metric's unit."""

    low: float
    high: float
    log: bool


def y_axis(rows: Sequence[Row]) -> YAxis:
    """The y axis of one panel: every value, the whole of every band, the chance line, some air.

    It spans at least `SMALLEST_SHARE`, and does not leave the metric's range. A perplexity whose values
    differ by more than a factor of 10 gets a log axis, on which equal ratios are equal distances.
    """
    metric = rows[0].metric
    shown = list(_shown(rows))
    lowest, highest = value_range(metric)
    if not shown:
        return YAxis(max(lowest, 0.0), min(highest, 1.0) if highest > 0 else 1.0, log=False)
    low, high = min(shown), max(shown)
    if is_ratio_scale(metric) and low > 0 and high / low > _LOG_FROM_RATIO:
        air = (high / low) ** _PADDING
        return YAxis(low / air, high * air, log=True)
    air = (high - low) * _PADDING
    return YAxis(
        *_widened(low - air, high + air, _least_span(low, high, lowest, highest), lowest, highest), False
    )


def log_ticks(first: float, last: float) -> list[float]:
    """At most eight ticks for a log axis: powers of ten, with the steps between them where there is room."""
    powers = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
    for parts in ((1, 2, 5), (1, 3), (1,)):
        ticks = [part * 10.0**power for power in powers for part in parts]
        inside = [tick for tick in ticks if first <= tick <= last]
        if len(inside) <= 8:
            break
    return inside if len(inside) > 1 else sorted({first, last})


def _shown(rows: Iterable[Row]) -> Iterable[float]:
    for row in rows:
        yield from (x for x in (row.value, row.ci_low, row.ci_high, row.chance) if x is not None)


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
