"""`milepost show`: the table of a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from milepost.cli.selection import (
    results_argument,
    selection_options,
    tell_left_out,
    tell_versions,
    tell_without_metrics,
)
from milepost.results import Selection, select_rows
from milepost.results.selection import select_all_rows, select_picks
from milepost.store import ResultsIndex

if TYPE_CHECKING:
    from rich.console import Console

    from milepost.analysis import Row
    from milepost.types import Picks


@click.command()
@results_argument
@selection_options
@click.option("--picks", is_flag=True, help="What each checkpoint picks, by position and by length.")
@click.option(
    "--summary/--no-summary",
    default=None,
    help="What each curve shows: gain, best and as good, plateau; with --json instead of the figures.",
)
@click.option("--provenance", is_flag=True, help="Where each checkpoint's figures come from.")
@click.option("--json", "form", flag_value="json", help="Every figure as JSON, an object each.")
@click.option("--csv", "form", flag_value="csv", help="Every figure as CSV, a line each.")
@click.option("--markdown", "form", flag_value="markdown", help="The table as Markdown.")
def command(
    results: Path,
    task: tuple[str, ...],
    metric: tuple[str, ...],
    series: tuple[str, ...],
    subjects: bool,
    picks: bool,
    summary: bool | None,
    provenance: bool,
    form: str | None,
) -> None:
    """Show the scores of RESULTS, the output folder of `milepost run`.

    Steps down, tasks across: value ± half of its 95 % interval, a star at the best of each column, the chance
    level below, and what a constant answer (always A, always B, ...) would score. A table wider than the
    window is printed in parts. Below it stands what the curves show: gain from first to last, the best
    checkpoint and those that are as good, plateaus and falls.

    --json and --csv write all tasks and metrics that the patterns leave, not only those of the table.
    """
    index = ResultsIndex.open(results)
    if provenance:
        from milepost.report.score_origin import as_json as origin_json
        from milepost.report.score_origin import origin_lines
        from milepost.store.provenance import read_provenance

        origins = read_provenance(index)
        click.echo(origin_json(origins) if form == "json" else "\n".join(origin_lines(origins)))
        return
    selection = Selection(tasks=task, metrics=metric, series=series, subjects=subjects)
    tell_without_metrics(index)
    if picks:
        of_tasks = Selection(tasks=task, series=series, subjects=subjects)
        _show_picks(select_picks(index, select_rows(index, of_tasks, gaps=False)), as_json=form == "json")
        return
    if form == "json" and summary:
        from milepost.report.progress import as_json as training_json
        from milepost.results.training import read_training

        click.echo(training_json(read_training(index, select_rows(index, selection, gaps=False))))
        return
    if form in ("json", "csv"):
        from milepost.report.long_table import as_csv, as_json

        every = select_all_rows(index, selection)
        click.echo(as_json(every) if form == "json" else as_csv(every).rstrip("\n"))
        return
    rows = select_rows(index, selection)
    tell_left_out(index, rows)
    tell_versions(index, rows)
    if form == "markdown":
        from milepost.report.markdown import markdown

        click.echo(markdown(rows), nl=False)
        return
    from rich.console import Console

    from milepost.report.terminal import print_table

    console = Console(highlight=False)
    print_table(rows, console)
    if summary is not False:
        _show_summary(index, selection, rows, console)


def _show_summary(index: ResultsIndex, selection: Selection, rows: list[Row], console: Console) -> None:
    from milepost.analysis.training import group_extremes
    from milepost.report.progress import training
    from milepost.results.training import read_training

    console.print()
    extremes = group_extremes(index.metrics(selection.metrics), rows)
    for part in training(read_training(index, rows), extremes):
        console.print(part, crop=False, soft_wrap=True)


def _show_picks(found: list[Picks], *, as_json: bool) -> None:
    from milepost.report.picks import as_json as picks_json
    from milepost.report.picks import pick_tables

    if as_json:
        click.echo(picks_json(found))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for part in pick_tables(found):
        console.print(part, crop=False)
