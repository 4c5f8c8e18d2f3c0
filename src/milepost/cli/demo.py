"""`milepost demo`: a tiny model, trained and measured on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from milepost.cli.options import output_option
from milepost.cli.output import say_blocks, say_json, say_text, tell, tell_failure, tell_notes
from milepost.text.language import _

if TYPE_CHECKING:
    from milepost.demo.demonstration import Demonstration


@click.command("demo")
@output_option(default=Path("demo-out"), help="Folder for everything that the demo writes.")
@click.option("--json", "as_json", is_flag=True, help="Print the files as JSON instead of tables.")
def command(output: Path, as_json: bool) -> int:
    """Train a tiny model on an invented world and measure every checkpoint, offline, in a few minutes.

    A rerun in the same folder uses what the first run left there.
    """
    from milepost.demo.demonstration import demonstrate

    demonstration = demonstrate(output, tell)
    tell_notes(demonstration.notices)
    if as_json:
        say_json(_record(demonstration))
    else:
        _say_results(demonstration, output)
    failures = {**demonstration.results.failures, **demonstration.pruned.failures}
    for name, reason in failures.items():
        tell_failure(name, reason)
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


def _say_results(made: Demonstration, output: Path) -> None:
    from milepost.report.comparison.report import comparison_summary

    say_blocks((*made.results.table().blocks, ""))
    if made.pruned.study is not None:
        say_blocks(comparison_summary(made.pruned.study))
    results, model, tasks, subjects, few_shot = (
        shlex.quote(str(path))
        for path in (made.results.path, made.model, made.tasks, output / "subjects.png", output / "few-shot")
    )
    say_text(
        _(
            """trained in {train_s:.0f} s, evaluated in {evaluate_s:.0f} s
picture    {curve}
report     {report}
pruned     {pruned}

world          questions and four answers, scored as text; guessing gives 0.25
world_cloze    unfinished sentences, in words that were not read of that fact
world_letters  the questions of `world` answered by A, B, C or D, which the model never saw done: it guesses
world_text     perplexity of true sentences that were not read

The pruned model is the last checkpoint with half of the weights of its linear layers set to zero.

next:
  milepost show {results} --all
  milepost plot {results} -t 'world_cloze_*' --log-x -o {subjects}
  milepost run {model} --include-path {tasks} -t world -f 2 -o {few_shot}
  milepost run YOUR-CHECKPOINTS -t arc_easy,hellaswag -o results""",
            train_s=made.train_s,
            evaluate_s=made.evaluate_s,
            curve=made.curve,
            report=made.report,
            pruned=output / "comparison" / "comparison_report.html",
            results=results,
            model=model,
            tasks=tasks,
            subjects=subjects,
            few_shot=few_shot,
        )
    )
