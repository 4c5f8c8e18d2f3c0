"""Overview: every series at a glance, with a verdict in words, and how far the run is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TypedDict
from urllib.parse import urlencode

from milepost.analysis.curves import checkpoints
from milepost.analysis.learning_state import learning_state
from milepost.analysis.row import Row, record
from milepost.analysis.training import TrainedCurve
from milepost.report.blocks import Block, Details, Grid, Line, Note, Section, Tile, Tiles, Verdict
from milepost.report.cards import MOODS, curve_card
from milepost.report.formatting import compact
from milepost.report.notes import reason_notes, version_notes
from milepost.report.progress import progress_records, progress_report
from milepost.report.scores import score_report
from milepost.report.table import Cell, grouped
from milepost.results import select_rows
from milepost.results.training import read_training
from milepost.text.language import _, ngettext
from milepost.text.safe_text import printable
from milepost.web.page import Page, PageKind, View
from milepost.web.progress import ProgressData, progress_data
from milepost.web.query import Query


class OverviewData(TypedDict):
    """The metrics that tables show by default, what their curves show, and how far the run is."""

    progress: ProgressData
    rows: list[dict[str, Any]]
    curves: list[dict[str, Any]]


def overview(view: View, query: Query) -> Page:
    """Return a card per series, task and metric, and what the tables of `milepost show` say."""
    rows = select_rows(view.index) if view.index.scored else []
    trained = [curve for curve in read_training(view.index, rows) if curve.curve.measured]
    data = OverviewData(
        progress=progress_data(view.progress),
        rows=[record(row) for row in rows if row.n or row.reason],
        curves=[
            {**found, "verdict": learning_state(curve)}
            for found, curve in zip(progress_records(trained), trained, strict=True)
        ],
    )
    blocks = _blocks(view, rows, trained) if rows else [*_failures(view), Note(_("Nothing is measured yet."))]
    return Page(title=_("Overview"), blocks=tuple(blocks), data=data)


def _blocks(view: View, rows: Sequence[Row], trained: Sequence[TrainedCurve]) -> Iterator[Block]:
    yield Tiles(tuple(_tiles(rows)))
    yield Grid(tuple(_verdicts(trained)), "inline")
    yield from _failures(view)
    places = checkpoints(rows)
    for number, (series, own) in enumerate(grouped(trained, lambda each: each.curve.series).items()):
        blocks: list[Block] = [Note(_reach(places[series]))]
        cards = (curve_card(each, href=_curves_of(each)) for each in own)
        yield Section(_anchor(series, number), printable(series), (*blocks, Grid(tuple(cards), "medium")))
    notes = [
        *version_notes(view.index.checkpoints(), {row.series for row in rows}),
        *reason_notes(rows),
    ]
    yield from map(Note, notes)
    yield Details(_("All of these values as a table"), tuple(score_report(rows)))
    yield Details(_("What each curve shows"), tuple(progress_report(trained)))


def _tiles(rows: Sequence[Row]) -> Iterator[Tile]:
    """Yield how much there is."""
    places = {(row.series, row.checkpoint) for row in rows}
    measured = {(row.series, row.checkpoint) for row in rows if row.n}
    tasks = {row.label: row for row in rows if row.n}
    names = {row.task for row in tasks.values()}
    n_docs = sum(row.n for row in tasks.values() if names.isdisjoint(row.parents))
    yield Tile(_("training runs"), compact(len({row.series for row in rows})))
    of_all = _("of {n}", n=len(places)) if len(measured) < len(places) else ""
    yield Tile(_("checkpoints measured"), compact(len(measured)), beside=of_all)
    yield Tile(_("tasks and groups"), compact(len(tasks)))
    yield Tile(_("docs per checkpoint"), compact(n_docs))


def _verdicts(trained: Sequence[TrainedCurve]) -> Iterator[Verdict]:
    """Yield how many curves stand where, the most frequent first."""
    for state, count in Counter(map(learning_state, trained)).most_common():
        yield Verdict(f"{count} × {_(state)}", MOODS[state])


def _failures(view: View) -> Iterator[Block]:
    """Yield what went wrong: checkpoints that failed, records that are damaged."""
    for series in view.progress.series:
        for each in series.checkpoints:
            if each.failure is not None:
                name = f"{printable(series.series)} {printable(each.checkpoint)}"
                yield Line((Cell(_("failed"), "problem"), Cell(f" {name}: {printable(each.failure)}")))
    for place, reason in view.index.damaged.items():
        yield Line(
            (Cell(_("damaged, left out"), "problem"), Cell(f" {printable(place)}: {printable(reason)}"))
        )


def _reach(places: Sequence[Row]) -> str:
    steps = [place.step for place in places if place.step is not None]
    counted = ngettext("{n} checkpoint", "{n} checkpoints", len(places))
    if len(steps) < 2:
        return counted
    reach = _("steps {first} to {last}", first=compact(steps[0]), last=compact(steps[-1]))
    return f"{counted}, {reach}"


def _curves_of(trained: TrainedCurve) -> str:
    curve = trained.curve
    return f"curves?{urlencode({'task': curve.rows[0].task, 'metric': curve.metric})}"


def _anchor(series: str, number: int) -> str:
    return f"series-{number}-{re.sub(r'[^a-z0-9]+', '-', series.lower()).strip('-')}"


PAGE = PageKind(
    name="overview",
    label="Overview",
    about="Every series with its newest metrics and verdicts, and how far the run is.",
    make=overview,
    data=OverviewData,
    is_live=True,
)
