"""Options that select metrics, and notes on what is not shown, for the commands that read results."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

import click

from milepost.cli.options import Command, Place
from milepost.cli.output import tell, tell_notes
from milepost.errors import ResultsError
from milepost.report.notes import version_notes
from milepost.store import ResultsIndex
from milepost.store.status import without_metrics
from milepost.text.language import Phrase, _
from milepost.types.metrics import Measurement

results_argument = click.argument("results", type=Place())
several_results_argument = click.argument(
    "results", nargs=-1, required=True, type=Place(), metavar="RESULTS..."
)


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--task`, `--metric`, `--series` and `--all`; patterns may repeat or be joined by commas."""
    for option in (
        click.option("--all", "subjects", is_flag=True, help="Every task, not only groups and lone tasks."),
        click.option("--series", multiple=True, callback=patterns, help="Training runs, by name or pattern."),
        metric_option(help="Metrics, by name or pattern; by default the one that each task lists first."),
        task_option(
            help="Tasks and groups, by name or pattern such as 'mmlu_*'; by default groups and lone tasks."
        ),
    ):
        command = option(command)
    return command


def task_option(help: str) -> Callable[[Command], Command]:
    """Return `-t`, `--task` or `--tasks`, whichever a person types."""
    return click.option("-t", "--task", "--tasks", multiple=True, callback=patterns, help=help)


def metric_option(help: str) -> Callable[[Command], Command]:
    """Return `--metric` or `--metrics`."""
    return click.option("--metric", "--metrics", multiple=True, callback=patterns, help=help)


def patterns(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return `a,b` and repeated options as one list; a callback of `click.option`.

    A name of HELM's has commas of its own: `key=value` belongs to the `entry:key=value` before it.
    """
    found: list[str] = []
    for text in given:
        for pattern in filter(None, map(str.strip, text.split(","))):
            if found and ":" in found[-1] and "=" in pattern and ":" not in pattern:
                found[-1] += f",{pattern}"
            else:
                found.append(pattern)
    return tuple(found)


def tell_without_metrics(index: ResultsIndex) -> None:
    """Print how many checkpoints have scores and no metrics, and the command that computes them.

    Raises:
        ResultsError: no checkpoint has metrics.
    """
    waiting = without_metrics(index)
    results = index.folder.path
    command = f"milepost metrics {shlex.quote(str(results))}"
    if waiting and not index.scored:
        raise ResultsError(
            Phrase(
                "{results}: {n_waiting} checkpoints have scores and no metrics yet",
                results=results,
                n_waiting=len(waiting),
            ),
            Phrase("`{command}` computes them where lm_eval is installed", command=command),
        )
    if waiting:
        tell(
            _(
                "note: {n_waiting} more checkpoints have scores and no metrics yet; compute them where"
                " lm_eval is installed:  {command}",
                n_waiting=len(waiting),
                command=command,
            )
        )


def tell_versions(index: ResultsIndex, shown: Sequence[Measurement]) -> None:
    """Print where the checkpoints of a series were scored with different versions of a library."""
    tell_notes(version_notes(index.checkpoints(), {row.series for row in shown}))
