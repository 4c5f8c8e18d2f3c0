"""`milepost plot`: the learning curves of a results folder as a picture or a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from milepost.cli.options import output_option
from milepost.cli.output import say, say_json, tell_notes
from milepost.cli.selection import results_argument, selection_options
from milepost.errors import ResultsError
from milepost.report.chart_files import words_of_picture, write_chart
from milepost.report.charts.remarks import gaps, remarks
from milepost.report.files import CHART_SUFFIXES, check_target
from milepost.report.transforms import by_tokens, together
from milepost.results import Selection, select_rows
from milepost.results.selection import select_picks
from milepost.store import ResultsIndex
from milepost.text.language import Phrase, _

if TYPE_CHECKING:
    import altair as alt

    from milepost.analysis import Row


@click.command()
@results_argument
@output_option(
    default=Path("curve.png"), help="The file to write: .png, .svg or .html (one file, works offline)."
)
@selection_options
@click.option(
    "--kind",
    type=click.Choice(["curves", "heatmap", "bars", "picks"]),
    default="curves",
    show_default=True,
    help="curves: a panel per task; heatmap: tasks x steps; bars: first and last checkpoint of each task; "
    "picks: which answers each checkpoint picks, by position and length.",
)
@click.option(
    "--together", "in_one", is_flag=True, help="Draw all tasks in one panel, such as mmlu,mmlu_continuation."
)
@click.option(
    "--tokens-per-step",
    multiple=True,
    metavar="[SERIES=]NUMBER",
    help="Draw tokens in place of steps, so that runs with different batches can be compared.",
)
@click.option("--title", help="Heading; by default the name of the training run.")
@click.option("--log-x", is_flag=True, help="Steps on a log axis.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def command(
    results: Path,
    output: Path,
    task: tuple[str, ...],
    metric: tuple[str, ...],
    series: tuple[str, ...],
    subjects: bool,
    kind: str,
    in_one: bool,
    tokens_per_step: tuple[str, ...],
    title: str | None,
    log_x: bool,
    as_json: bool,
) -> None:
    """Draw the learning curves of RESULTS, the output folder of `milepost run`.

    A panel per task, a line per training run, with its 95 % band and the chance line. An accuracy axis spans
    at least 0.2, so that noise does not look like progress. --all has a panel for every subject.

    \b
    milepost plot results --kind heatmap -t 'mmlu_*' --all -o subjects.png
    milepost plot results -t mmlu,mmlu_continuation --together -o forms.png
    milepost plot results --tokens-per-step small=65536 --tokens-per-step large=262144 -o runs.png
    """
    check_target(output, CHART_SUFFIXES)
    index = ResultsIndex.open(results)
    selection = Selection(tasks=task, metrics=metric, series=series, subjects=subjects)
    picked = select_rows(index, selection, gaps=kind != "picks")
    tasks = list(dict.fromkeys(row.label for row in picked))
    notes: list[str] = []
    if kind == "picks":
        from milepost.report.charts.pick_bars import pick_bars

        with words_of_picture(output):
            chart: alt.TopLevelMixin = pick_bars(select_picks(index, picked), title=title)
    else:
        if in_one:
            runs = list(dict.fromkeys(row.series for row in picked))
            title = title or (runs[0] if len(runs) == 1 else None)
            picked = together(picked)
        if tokens_per_step:
            picked = by_tokens(picked, _tokens(tokens_per_step))
        with words_of_picture(output):
            chart, remarks = _draw(picked, kind, title, log_x=log_x, in_tokens=bool(tokens_per_step))
        notes += remarks
    notes += write_chart(chart, output)
    tell_notes(notes)
    if as_json:
        say_json({"path": str(output), "tasks": tasks, "notes": notes})
    else:
        say(_("wrote {path}", path=output))


def _draw(
    picked: list[Row], kind: str, title: str | None, *, log_x: bool, in_tokens: bool
) -> tuple[alt.TopLevelMixin, list[str]]:
    """Return the chart, and lines on what it does not or cannot show."""
    from milepost.report.charts.curves import curve
    from milepost.report.charts.first_last import first_last
    from milepost.report.charts.heat_map import heat_map

    if kind == "curves":
        return curve(picked, title=title, log_x=log_x, in_tokens=in_tokens), remarks(picked, log_x=log_x)
    return (heat_map if kind == "heatmap" else first_last)(picked, title=title), gaps(picked)


def _tokens(given: tuple[str, ...]) -> dict[str, float]:
    """Return tokens per step by series; `65536` is for all of them, `NAME=65536` for one."""
    found = {}
    for text in given:
        series, _, number = text.rpartition("=")
        try:
            found[series] = float(number.replace("_", ""))
        except ValueError:
            found[series] = 0.0
        if not 0 < found[series] < float("inf"):
            raise ResultsError(
                Phrase("--tokens-per-step {text!r} is not a number of tokens", text=text),
                "65536, or SERIES=65536",
            )
    return found
