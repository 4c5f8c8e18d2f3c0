"""`milepost plot`: the learning curves of a results folder as a picture or a page."""

from __future__ import annotations

import json
from pathlib import Path

import click

from milepost.analysis import rows
from milepost.analysis.selection import headline
from milepost.cli.selection import results_argument, selection_options
from milepost.report.files import CHART_SUFFIXES, check_target
from milepost.store import read_measurements
from milepost.store.reading import LeftOut


@click.command()
@results_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("curve.png"),
    show_default=True,
    help="Where to write; .png, .svg or .html (one file, works offline).",
)
@selection_options
@click.option("--title", help="Heading; by default the name of the training run.")
@click.option("--log-x", is_flag=True, help="Steps on a log axis.")
@click.option("--json", "as_json", is_flag=True, help="Say what was written as JSON.")
def command(
    results: Path,
    output: Path,
    task: tuple[str, ...],
    metric: tuple[str, ...],
    series: tuple[str, ...],
    subjects: bool,
    title: str | None,
    log_x: bool,
    as_json: bool,
) -> None:
    """Draw the learning curves of RESULTS, the output folder of `milepost run`.

    A panel per task, a line per training run, with its 95 % band and the chance line. An accuracy axis spans
    at least 0.2, so that noise does not look like progress.
    """
    check_target(output, CHART_SUFFIXES)
    left_out: list[LeftOut] = []
    measured = read_measurements(results, left_out)
    picked = rows(headline(measured, tasks=task, metrics=metric, series=series, subjects=subjects))

    from milepost.report.chart import curve, remarks
    from milepost.report.files import write_chart
    from milepost.report.left_out import left_out_notes

    chart = curve(picked, title=title, log_x=log_x)
    notices = [*remarks(picked, log_x=log_x), *write_chart(chart, output)]
    notices += left_out_notes(left_out, {(row.series, row.task) for row in picked})
    for notice in notices:
        click.echo(f"note: {notice}", err=True)
    if as_json:
        tasks = list(dict.fromkeys(row.task for row in picked))
        click.echo(json.dumps({"path": str(output), "tasks": tasks, "notes": notices}))
    else:
        click.echo(f"wrote {output}")
