"""The options that say which figures to look at, shared by the commands that read results."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from milepost.errors import ResultsError
from milepost.safe_text import printable
from milepost.store import open_results
from milepost.store.reading import Current, LeftOut, checkpoint_records, picks_of
from milepost.store.status import without_metrics
from milepost.types import Measurement, Picks

results_argument = click.argument("results", type=click.Path(path_type=Path))


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--task`, `--metric`, `--series` and `--all`; patterns may repeat or be joined by commas."""
    for option in (
        click.option("--all", "subjects", is_flag=True, help="Every task, not only groups and lone tasks."),
        click.option("--series", multiple=True, callback=patterns, help="Training runs, by name or pattern."),
        click.option(
            "--metric",
            multiple=True,
            callback=patterns,
            help="Metrics, by name or pattern; by default the one that each task lists first.",
        ),
        click.option(
            "-t",
            "--task",
            multiple=True,
            callback=patterns,
            help="Tasks and groups, by name or pattern such as 'mmlu_*'; by default groups and lone tasks.",
        ),
    ):
        command = option(command)
    return command


def patterns(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """`a,b` and repeated options as one list; a callback of `click.option`."""
    return tuple(pattern.strip() for text in given for pattern in text.split(",") if pattern.strip())


def tell_left_out(left_out: Sequence[LeftOut], shown: Sequence[Measurement]) -> None:
    """Say on standard error which checkpoints are not joined to what is shown, and why."""
    from milepost.report.notes import left_out_notes

    for note in left_out_notes(left_out, {(each.series, each.task) for each in shown}):
        click.echo(f"note: {note}", err=True)


def tell_without_metrics(results: Path, shown: Sequence[Measurement]) -> None:
    """Say which checkpoints have scores and no metrics, and the command that computes them.

    Raises:
        ResultsError: there are no other checkpoints to show.
    """
    waiting = without_metrics(open_results(results))
    command = f"milepost metrics {shlex.quote(str(results))}"
    if waiting and not shown:
        raise ResultsError(
            f"{results}: {len(waiting)} checkpoints have scores and no metrics yet",
            f"`{command}` computes them where lm_eval is installed",
        )
    if waiting:
        click.echo(
            f"note: {len(waiting)} more checkpoints have scores and no metrics yet; compute them where"
            f" lm_eval is installed:  {printable(command)}",
            err=True,
        )


def tell_versions(results: Path, shown: Sequence[Measurement]) -> None:
    """Say on standard error where the checkpoints of a series were scored with different versions."""
    from milepost.report.versions import version_notes

    records = checkpoint_records(open_results(results))
    for note in version_notes(records, {each.series for each in shown}):
        click.echo(f"note: {note}", err=True)


def picks_among(current: Sequence[Current], shown: Sequence[Measurement]) -> list[Picks]:
    """The picks of the tasks that are shown.

    Raises:
        ResultsError: none of them has any.
    """
    wanted = {(each.series, each.task) for each in shown}
    found = [each for each in picks_of(current) if (each.series, each.task) in wanted]
    if not found:
        raise ResultsError(
            "there are no picks of these tasks",
            "only multiple-choice tasks have them; results of an earlier version get them from the same "
            "`milepost run` again, without scoring anything",
        )
    return found
