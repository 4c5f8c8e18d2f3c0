"""`milepost show`: the table of a results folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from milepost.analysis.training import group_extremes
from milepost.cli.output import say, say_blocks, say_json, say_text
from milepost.cli.selection import (
    results_argument,
    selection_options,
    tell_versions,
    tell_without_metrics,
)
from milepost.report.long_table import as_csv, as_json
from milepost.report.markdown import markdown
from milepost.report.picks import pick_records, pick_report
from milepost.report.progress import progress_records, progress_report
from milepost.report.provenance import origin_lines
from milepost.report.scores import ORDERS, Order, score_report
from milepost.results import Selection, select_rows
from milepost.results.selection import select_all_rows, select_picks
from milepost.results.training import read_training
from milepost.store import ResultsIndex
from milepost.store.provenance import read_provenance
from milepost.types.picks import Picks


@click.command()
@results_argument
@selection_options
@click.option("--picks", is_flag=True, help="What each checkpoint picks, by position and by length.")
@click.option(
    "--summary/--no-summary",
    default=None,
    help="What each curve shows: gain, best and as good, plateau; with --json in place of the metrics.",
)
@click.option(
    "--sort",
    "order",
    type=click.Choice(ORDERS),
    default="asked",
    show_default=True,
    help="Order of the tasks: as they were asked, by name, or by the last value, the best first.",
)
@click.option("--provenance", is_flag=True, help="Where each checkpoint's metrics come from.")
@click.option("--json", "form", flag_value="json", help="Every metric as JSON, an object each.")
@click.option("--csv", "form", flag_value="csv", help="Every metric as CSV, a line each.")
@click.option("--markdown", "form", flag_value="markdown", help="The table as Markdown.")
def command(
    results: Path,
    task: tuple[str, ...],
    metric: tuple[str, ...],
    series: tuple[str, ...],
    subjects: bool,
    picks: bool,
    summary: bool | None,
    order: Order,
    provenance: bool,
    form: str | None,
) -> None:
    """Show the scores of RESULTS, the output folder of `milepost run`.

    Steps down, tasks across; tasks down where each model has one checkpoint. Value ± half of its 95 %
    interval, a star where one of the column stands out as the best, the chance level below, and what a
    constant answer (always A, always B, ...) would score. A table that is too wide is printed in parts. Below
    stands what the curves show: verdict, gain, the best checkpoint and those that are as good.

    --json and --csv write all tasks and metrics that the patterns leave, not only those of the table.
    """
    index = ResultsIndex.open(results)
    if provenance:
        _show_provenance(index, as_json=form == "json")
        return
    selection = Selection(tasks=task, metrics=metric, series=series, subjects=subjects)
    tell_without_metrics(index)
    if picks:
        of_tasks = Selection(tasks=task, series=series, subjects=subjects)
        _show_picks(select_picks(index, select_rows(index, of_tasks, gaps=False)), as_json=form == "json")
    elif form == "json" and summary:
        say_json(progress_records(read_training(index, select_rows(index, selection, gaps=False))))
    elif form in ("json", "csv"):
        every = select_all_rows(index, selection)
        say_text(as_json(every) if form == "json" else as_csv(every))
    else:
        _show_scores(index, selection, order, as_markdown=form == "markdown", summary=summary is not False)


def _show_scores(
    index: ResultsIndex, selection: Selection, order: Order, *, as_markdown: bool, summary: bool
) -> None:
    rows = select_rows(index, selection)
    tell_versions(index, rows)
    if as_markdown:
        say_text(markdown(score_report(rows, order)))
        return
    say_blocks(score_report(rows, order))
    if summary:
        say()
        extremes = group_extremes(index.metrics(selection.metrics), rows)
        say_blocks(progress_report(read_training(index, rows), extremes))


def _show_provenance(index: ResultsIndex, *, as_json: bool) -> None:
    origins = read_provenance(index)
    if as_json:
        say_json([asdict(origin) for origin in origins])
    else:
        say_text("\n".join(origin_lines(origins)))


def _show_picks(found: list[Picks], *, as_json: bool) -> None:
    if as_json:
        say_json(pick_records(found))
    else:
        say_blocks(pick_report(found))
