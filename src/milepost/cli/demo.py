"""`milepost demo`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from milepost.demo.demonstration import Demonstration


@click.command("demo")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo-out"),
    show_default=True,
    help="Folder for everything the demo makes.",
)
@click.option("--json", "as_json", is_flag=True, help="Say what was made as JSON instead of a table.")
def command(output: Path, as_json: bool) -> int:
    """Train a tiny model on an invented world and measure every checkpoint, offline, in a few minutes.

    A rerun in the same folder uses what is there.
    """
    from milepost.demo.demonstration import demonstrate

    made = demonstrate(output, lambda line: click.echo(line, err=True))
    for notice in made.notices:
        click.echo(f"note: {notice}", err=True)
    if as_json:
        click.echo(json.dumps(_record(made), indent=1))
    else:
        _print(made, output)
    failures = {**made.results.failures, **made.pruned.failures}
    for name, reason in failures.items():
        click.echo(f"failed: {name}: {reason}", err=True)
    return 1 if failures else 0


def _record(made: Demonstration) -> dict[str, object]:
    return {
        "model": str(made.model),
        "tasks": str(made.tasks),
        "results": str(made.results.path),
        "curve": str(made.curve),
        "report": str(made.report),
        "comparison": [str(path) for path in made.pruned.files],
        "train_s": round(made.train_s, 1),
        "evaluate_s": round(made.evaluate_s, 1),
        "failures": dict(made.results.failures),
    }


def _print(made: Demonstration, output: Path) -> None:
    from rich.console import Console

    from milepost.analysis.selection import summary_rows
    from milepost.report.comparison.terminal import print_comparison
    from milepost.report.terminal import print_table

    console = Console(highlight=False)
    print_table(summary_rows(made.results.rows()), console)
    if made.pruned.study is not None:
        print_comparison(made.pruned.study, console)
    results, model, tasks, subjects, few_shot = (
        shlex.quote(str(path))
        for path in (made.results.path, made.model, made.tasks, output / "subjects.png", output / "few-shot")
    )
    click.echo(
        f"""
trained in {made.train_s:.0f} s, evaluated in {made.evaluate_s:.0f} s
picture    {made.curve}
report     {made.report}
pruned     {output / "comparison" / "comparison_report.html"}

world          questions and four answers, scored as text; guessing gives 0.25
world_cloze    unfinished sentences, in words that were not read of that fact
world_letters  the questions of `world` answered by A, B, C or D, which the model never saw done: it guesses
world_text     perplexity of true sentences that were not read

The pruned model is the last checkpoint with half of the weights of its linear layers set to zero.

next:
  milepost show {results} --all
  milepost plot {results} -t 'world_cloze_*' --log-x -o {subjects}
  milepost run {model} --include-path {tasks} -t world -f 2 -o {few_shot}
  milepost run YOUR-CHECKPOINTS -t arc_easy,hellaswag -o results"""
    )
