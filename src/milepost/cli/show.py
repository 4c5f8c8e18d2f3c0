"""`milepost show`: the table of a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from milepost.analysis import rows
from milepost.analysis.curves import with_gaps
from milepost.analysis.selection import select, summary_rows
from milepost.cli.selection import (
    picks_among,
    results_argument,
    selection_options,
    tell_left_out,
    tell_versions,
    tell_without_metrics,
)
from milepost.store import open_results
from milepost.store.reading import EVERY, LeftOut, measurements_of, read_current, without_figures

if TYPE_CHECKING:
    from rich.console import Console

    from milepost.analysis import Row
    from milepost.store.reading import Current
    from milepost.types import Measurement, Picks


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
    if provenance:
        from milepost.report.score_origin import as_json as origin_json
        from milepost.report.score_origin import origin_lines
        from milepost.store.provenance import read_provenance

        origins = read_provenance(results)
        click.echo(origin_json(origins) if form == "json" else "\n".join(origin_lines(origins)))
        return
    left_out: list[LeftOut] = []
    free = metric or (EVERY if form in ("json", "csv") else ())
    current = list(read_current(open_results(results), left_out, free=free))
    measured = measurements_of(current)
    tell_without_metrics(results, measured)
    if picks:
        shown = summary_rows(measured, tasks=task, series=series, subjects=subjects)
        _show_picks(picks_among(current, shown), as_json=form == "json")
        return
    if form == "json" and summary:
        from milepost.analysis.training import read_training
        from milepost.report.progress import as_json as training_json

        curves = rows(
            summary_rows(measured, tasks=task, metrics=metric, series=series, subjects=subjects), measured
        )
        click.echo(training_json(read_training(results, current, curves)))
        return
    if form in ("json", "csv"):
        from milepost.report.long_table import as_csv, as_json

        picked = rows(select(measured, tasks=task, metrics=metric, series=series), measured)
        click.echo(as_json(picked) if form == "json" else as_csv(picked).rstrip("\n"))
        return
    picked = rows(
        summary_rows(measured, tasks=task, metrics=metric, series=series, subjects=subjects), measured
    )
    picked = with_gaps(picked, without_figures(results, measured))
    tell_left_out(left_out, picked)
    tell_versions(results, picked)
    if form == "markdown":
        from milepost.report.markdown import markdown

        click.echo(markdown(picked), nl=False)
        return
    from rich.console import Console

    from milepost.report.terminal import print_table

    console = Console(highlight=False)
    print_table(picked, console)
    if summary is not False:
        _show_summary(results, current, measured, picked, console)


def _show_summary(
    results: Path, current: list[Current], measured: list[Measurement], picked: list[Row], console: Console
) -> None:
    from milepost.analysis.training import group_extremes, read_training
    from milepost.report.progress import training

    console.print()
    for part in training(read_training(results, current, picked), group_extremes(measured, picked)):
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
