"""Stack one panel for each series and metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import altair as alt

from milepost.analysis.curves import Curve
from milepost.report.charts.theme import LIGHT


class Draw(Protocol):
    """A function that draws one panel from the dataset of that name."""

    def __call__(self, of_panel: list[Curve], data: str, /, *, name_series: bool) -> alt.LayerChart:
        """`name_series` where the picture has several series."""
        ...


def stacked(
    found: Iterable[Curve],
    draw: Draw,
    records: Callable[[list[Curve]], list[dict[str, Any]]],
    *,
    name_series: bool,
    title: alt.TitleParams,
    **settings: Any,
) -> alt.VConcatChart:
    """Return the panels of these curves, each with its own dataset beside the chart.

    Args:
        records: what a panel draws.
        settings: more of the whole chart's, as for `alt.vconcat`.
    """
    panels: dict[tuple[str, str, str], list[Curve]] = {}
    for each in found:
        panels.setdefault((each.series, each.metric, each.filter), []).append(each)
    chart = alt.vconcat(
        *(draw(of, f"panel-{i}", name_series=name_series) for i, of in enumerate(panels.values())),
        title=title,
        config=LIGHT,
        padding=14,
        spacing=30,
        **settings,
    )
    chart.datasets = {f"panel-{i}": records(of) for i, of in enumerate(panels.values())}
    return chart
