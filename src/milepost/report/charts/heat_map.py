"""A heat map: one row per task, one column per checkpoint, for as many tasks as MMLU has subjects.

Tasks stand below their group; `heat_cells` chooses the colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from milepost.analysis.curves import Curve, curves
from milepost.analysis.row import Row
from milepost.report.charts.headings import heading, name_of
from milepost.report.charts.heat_cells import CELL_HEIGHT, cells_of, has_chance, rectangles
from milepost.report.charts.panels import stacked
from milepost.report.formatting import metric_heading
from milepost.report.transforms import with_missing_steps
from milepost.text.language import _, for_reader
from milepost.text.safe_text import printable

WIDTH = 640
LABEL_PIXELS = 320


def heat_map(rows: Sequence[Row], *, title: str | None = None) -> alt.VConcatChart:
    """Return a map per series and metric: groups above their tasks, the best at the last checkpoint first.

    A cell that was not measured stays empty.

    Args:
        rows: what to draw; at least one.
        title: heading; by default the name of the series, or how many there are.
    """
    found = curves(with_missing_steps(rows))
    own_colours = alt.Resolve(scale={"color": "independent"})
    return stacked(
        found,
        _map,
        _cells,
        name_series=len({row.series for row in rows}) > 1,
        title=heading(name_of(rows, title), WIDTH),
        resolve=own_colours,
    )


def _map(of_map: list[Curve], data: str, *, name_series: bool) -> alt.Chart:
    first = of_map[0].rows[0]
    found = _in_groups(of_map)
    what = metric_heading(first.metric, first.filter, first.higher_is_better)
    if has_chance(of_map):
        what += " · " + _("colour: distance from chance")
    names = [_name(each) for each in found]
    marks = rectangles(found, names, data, label_pixels=LABEL_PIXELS)
    return alt.Chart.from_dict(marks).properties(
        width=WIDTH,
        height=CELL_HEIGHT * len(found),
        title=alt.TitleParams(text=f"{printable(first.series)} · {what}" if name_series else what),
    )


def _in_groups(of_map: Sequence[Curve]) -> list[Curve]:
    """Return the curves with each group above its tasks, and the best at the last checkpoint first."""
    groups = {each.rows[0].task for each in of_map if each.rows[0].kind == "group"}

    def place(of: Curve) -> tuple[str, ...]:
        row = of.rows[0]
        own = (row.task,) if row.kind == "group" else ()
        return (*(parent for parent in row.parents if parent in groups), *own)

    best = {place(each): _last_value(each) for each in of_map if each.rows[0].kind == "group"}

    def order(of: Curve) -> tuple[tuple[float, str], ...]:
        inside = place(of)
        heads = [(-best.get(inside[: i + 1], 0.0), name) for i, name in enumerate(inside)]
        is_head = of.rows[0].kind == "group"
        return tuple(heads) if is_head else (*heads, (-_last_value(of), of.task))

    def key(of: Curve) -> tuple[bool, tuple[tuple[float, str], ...]]:
        return not place(of), order(of)

    return sorted(of_map, key=key)


def _cells(of_map: Sequence[Curve]) -> list[dict[str, Any]]:
    return [cell for each in of_map for cell in cells_of(each, _name(each))]


def _name(of: Curve) -> str:
    return for_reader(printable(of.task))


def _last_value(of: Curve) -> float:
    value = of.last.value if of.last is not None else None
    sign = -1.0 if of.rows[0].higher_is_better is False else 1.0
    return float("-inf") if value is None else sign * value
