"""The report of a results folder as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.analysis.curves import checkpoints, with_gaps
from milepost.analysis.row import Row
from milepost.report.blocks import Block, Chart, Details, Facts, Heading, Note
from milepost.report.files import check_target, write_file
from milepost.report.html import page
from milepost.report.provenance import settings_facts, tasks_table
from milepost.report.scores import legend, score_tables
from milepost.results.selection import select_all_rows, select_rows
from milepost.safe_text import printable
from milepost.store import ResultsIndex
from milepost.store.index import NewestRun

if TYPE_CHECKING:
    import altair as alt


def write_report(results: Path, out: Path, *, title: str | None = None) -> list[str]:
    """Write what a results folder holds as one HTML page: charts, tables, and how it was measured.

    Args:
        results: the output folder of a run.
        out: the page; its name ends in `.html`, its folder exists.
        title: heading; by default the names of the series.

    Returns:
        One line for each thing the reader should know; see `charts.curves.remarks`.

    Raises:
        ResultsError: no results folder, nothing measured yet, or the page cannot be written.
    """
    from milepost.report.charts.curves import curve, remarks

    check_target(out, (".html",))
    index = ResultsIndex.open(results)
    every, main = select_all_rows(index), select_rows(index)
    title = title or ", ".join(dict.fromkeys(printable(row.series) for row in main))
    blocks = [
        Note(_summary(every)),
        *_chart(curve(main), title),
        *_tables(main, with_gaps(every, index.missing)),
        *_how_it_was_measured(index.newest),
    ]
    write_file(out, page(title, blocks).encode())
    return remarks(main)


def chart_page(chart: alt.TopLevelMixin) -> str:
    """Return an HTML page with one chart, for light and for dark screens."""
    title = "".join(chart.to_dict()["title"]["text"])
    return page(title, list(_chart(chart, title)))


def _chart(chart: alt.TopLevelMixin, title: str) -> Iterator[Block]:
    spec = chart.to_dict()
    lines = " · ".join(spec["title"]["subtitle"])
    yield Chart(spec, f"Learning curves of {printable(title)}; the same values are in the table", lines)


def _tables(main: Sequence[Row], every: Sequence[Row]) -> Iterator[Block]:
    tables = score_tables(main)
    yield Heading("Table")
    yield Note(f"{legend(tables)}. ↑ higher is better, ↓ lower is better.")
    yield from tables
    if len(every) > len(main):
        yield Details("Every task and metric", tuple(score_tables(every)))


def _how_it_was_measured(newest: NewestRun | None) -> Iterator[Block]:
    if facts := settings_facts(newest):
        yield Heading("How it was measured")
        yield Facts(facts)
    tasks = tasks_table(newest)
    if tasks.rows:
        several = "s" if len(tasks.rows) > 1 else ""
        yield Details(f"{len(tasks.rows)} task{several}: versions and data", (tasks,))


def _summary(every: Sequence[Row]) -> str:
    parts = []
    for series, places in checkpoints(every).items():
        steps = [place.step for place in places if place.step is not None]
        reach = f", steps {steps[0]} to {steps[-1]}" if len(steps) > 1 else ""
        several = "s" if len(places) > 1 else ""
        parts.append(f"{printable(series)}: {len(places)} checkpoint{several}{reach}")
    return "; ".join(parts)
