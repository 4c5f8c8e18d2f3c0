"""`milepost leaderboard`: training runs and published scores, ranked over all tasks."""

from __future__ import annotations

from pathlib import Path

import click

from milepost.analysis.leaderboard import At
from milepost.cli.options import output_option
from milepost.cli.output import say, say_blocks, say_text, tell
from milepost.cli.selection import metric_option, patterns, several_results_argument, task_option
from milepost.errors import MilepostError
from milepost.recorders import check_recorder, opener, record_board
from milepost.report import leaderboard as report
from milepost.report.files import check_target, write_file
from milepost.results.leaderboard import leaderboard_of
from milepost.store import ResultsIndex
from milepost.store.united_index import UnitedIndex
from milepost.text.language import Phrase, _

SUFFIXES = (".md", ".csv", ".html", ".json")


@click.command()
@several_results_argument
@click.option(
    "--baselines",
    type=click.Path(path_type=Path),
    metavar="FILE.yaml",
    help="Published scores of models.",
)
@task_option(help="Tasks and groups, by name or pattern.")
@metric_option(
    help="Metrics such as acc_norm, or task.metric; by default the one that each task lists first."
)
@click.option(
    "--exclude",
    multiple=True,
    callback=patterns,
    help="Leave out a task, task.metric, a training run or run/checkpoint; patterns work.",
)
@click.option(
    "--at",
    default="last",
    show_default=True,
    metavar="best|last|STEP",
    help="Checkpoint of each run.",
)
@output_option(
    metavar="FILE", help="Write the table to a file; its name says the format: .md, .csv, .html or .json."
)
@click.option(
    "--record",
    is_flag=False,
    flag_value="trackio",
    type=click.Choice(["trackio", "wandb"]),
    help="Also record the table there, and each published model as a run with its metrics.",
)
@click.option("--record-project", default="milepost", show_default=True, help="The recorder's project.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--markdown", "form", flag_value="md", help="Print Markdown.")
@click.option("--json", "form", flag_value="json", help="Print JSON.")
def command(
    results: tuple[Path, ...],
    baselines: Path | None,
    task: tuple[str, ...],
    metric: tuple[str, ...],
    exclude: tuple[str, ...],
    at: str,
    output: Path | None,
    record: str | None,
    record_project: str,
    form: str | None,
) -> None:
    """Rank the training runs of one or more RESULTS, and published scores, over all tasks at once.

    \b
    milepost leaderboard results-a results-b --baselines published.yaml -o board.html

    The table has one checkpoint of each run. The file of --baselines holds `MODEL: {TASK: {METRIC: VALUE}}`.
    """
    if output is not None:
        check_target(output, SUFFIXES)
    if record is not None:
        check_recorder(record)
    board = leaderboard_of(
        {results[0]: UnitedIndex([ResultsIndex.open(folder) for folder in dict.fromkeys(results)])},
        baselines=baselines,
        tasks=task,
        metrics=metric,
        exclude=exclude,
        at=_at(at),
    )
    render = {"md": report.as_markdown, "csv": report.as_csv, "json": report.as_json, "html": report.as_html}
    if output is not None:
        write_file(output, render[output.suffix.lower()[1:]](board).encode())
        (say if form is None else tell)(_("wrote {path}", path=output))
    if form is not None:
        say_text(render[form](board))
    elif output is None:
        say_blocks(report.leaderboard_report(board))
    if record is not None:
        tell(record_board(board, opener(record), record_project, results[0]))


def _at(text: str) -> At:
    if text == "best":
        return "best"
    if text == "last":
        return "last"
    if text.isdecimal():
        return int(text)
    raise MilepostError(
        Phrase("--at {text!r} is not a checkpoint", text=text), "pass best, last or a step such as 2000"
    )
