"""Bars of what each checkpoint picked: by position, and by length where lengths differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from milepost.analysis.pick_bias import length_names, pick_bias, position_name
from milepost.report.charts.headings import heading, name_of
from milepost.report.charts.theme import LIGHT
from milepost.text.language import Phrase, _, for_reader
from milepost.text.safe_text import printable
from milepost.types.picks import Picks

RIGHT = Phrase("right")
"""The first bar: how the right answers are spread. What a model that knows them all would pick."""
COLUMNS, WIDTH, HEIGHT = 2, 400, 170


class _Panel(NamedTuple):
    title: str
    about: str
    """Says what the parts of a bar are."""
    places: list[str]
    """Names of the bars, from left to right."""
    kinds: list[str]
    """Names of the parts of a bar, from below."""
    shares: list[list[float]]
    """The share of each part, per bar."""


def pick_bars(picks: Sequence[Picks], *, title: str | None = None) -> alt.ConcatChart:
    """Return a panel per series and task, and a second one by length where choices differ in length.

    Viridis runs from dark to light evenly, so that the parts are told apart in grey as well.

    Args:
        picks: by step; at least one.
        title: heading; by default the name of the series, or how many there are.
    """
    of_task: dict[tuple[str, str], list[Picks]] = {}
    for each in picks:
        of_task.setdefault((each.series, each.task), []).append(each)
    several = len({series for series, _ in of_task}) > 1
    panels = [
        panel
        for (series, task), steps in of_task.items()
        for panel in _panels(f"{series}: {task}" if several else task, steps)
    ]
    chart = alt.concat(
        *(_bars(panel, f"picks-{i}") for i, panel in enumerate(panels)),
        columns=COLUMNS,
        title=heading(
            name_of(picks, title), WIDTH, [_("bar `{right}`: how the right answers are spread", right=RIGHT)]
        ),
        config=LIGHT,
        padding=14,
        spacing=26,
        resolve=alt.Resolve(scale={"color": "independent"}, legend={"color": "independent"}),
    )
    chart.datasets = {f"picks-{i}": _records(panel) for i, panel in enumerate(panels)}
    return chart


def _panels(name: str, steps: Sequence[Picks]) -> list[_Panel]:
    shares = [pick_bias(each.counts) for each in steps]
    places = [
        for_reader(RIGHT),
        *(each.checkpoint if each.step is None else str(each.step) for each in steps),
    ]
    known = sum(shares[-1].right) or 1.0
    right = [share / known for share in shares[-1].right]  # several right answers in one doc count each
    positions = [position_name(place) for place in range(len(right))]
    title = for_reader(printable(name))
    found = [
        _Panel(title, _("picks by position"), places, positions, [right, *(list(of.picked) for of in shares)])
    ]
    if ranks := len(shares[-1].by_length):
        lengths = [list(shares[-1].right_by_length), *(list(of.by_length) for of in shares)]
        names = list(map(for_reader, length_names(ranks)))
        found.append(_Panel(title, _("picks by length"), places, names, lengths))
    return found


def _bars(panel: _Panel, data: str) -> alt.Chart:
    crowded = len(panel.places) > 12
    return (
        alt.Chart(alt.NamedData(name=data))
        .mark_bar(stroke="white", strokeWidth=0.4)
        .encode(
            x=alt.X(
                "checkpoint:O",
                sort=panel.places,
                title=None,
                axis=alt.Axis(labelAngle=-60 if crowded else 0, labelOverlap=True, ticks=False),
                scale=alt.Scale(domain=panel.places, paddingInner=0.08),
            ),
            y=alt.Y(
                "share:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=5)
            ),
            color=alt.Color(
                "kind:O",
                sort=panel.kinds,
                scale=alt.Scale(scheme="viridis", domain=panel.kinds),
                legend=alt.Legend(title=None, symbolType="square"),
            ),
            order=alt.Order("rank:Q"),
            tooltip=[
                alt.Tooltip("checkpoint:N", title=_("checkpoint")),
                alt.Tooltip("kind:N", title=_("pick")),
                alt.Tooltip("share:Q", title=_("share"), format=".1%"),
            ],
        )
        .properties(
            width=WIDTH,
            height=HEIGHT,
            title=alt.TitleParams(text=panel.title, subtitle=panel.about, frame="group", limit=WIDTH),
        )
    )


def _records(panel: _Panel) -> list[dict[str, Any]]:
    return [
        {"checkpoint": place, "kind": kind, "rank": rank, "share": share}
        for place, shares in zip(panel.places, panel.shares, strict=True)
        for rank, (kind, share) in enumerate(zip(panel.kinds, shares, strict=True))
    ]
