"""`milepost signal`: which tasks of a results folder are worth watching at this scale."""

from __future__ import annotations

from pathlib import Path

import click

from milepost.analysis.selection import overview
from milepost.cli.selection import patterns, results_argument, tell_left_out
from milepost.results import Selection
from milepost.store import ResultsIndex

SUBJECTS_SHOWN = 20


@click.command()
@results_argument
@click.option(
    "-t", "--task", multiple=True, callback=patterns, help="Tasks and groups, by name or pattern; else all."
)
@click.option("--series", multiple=True, callback=patterns, help="Training runs, by name or pattern.")
@click.option(
    "-k",
    "--last",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Checkpoints at either end that are taken together, at most; never more than half of them.",
)
@click.option(
    "--all", "everything", is_flag=True, help="Every subject, not only the groups and the clearest."
)
@click.option("--json", "as_json", is_flag=True, help="Every task with every metric's rating as JSON.")
def command(
    results: Path,
    task: tuple[str, ...],
    series: tuple[str, ...],
    last: int,
    everything: bool,
    as_json: bool,
) -> None:
    """Rate each task and subject of RESULTS over its series of checkpoints.

    watch: it is above chance, and above what a constant answer (always A, always B, ...) scores, and moves
    beyond its noise. at chance: it is not above these. too noisy at this scale: what moves cannot be told
    from noise. Formulas and papers are in docs/signal.md.
    """
    from milepost.results.signal import rate_tasks

    index = ResultsIndex.open(results)
    signals, picked = rate_tasks(index, Selection(tasks=task, series=series), last)
    tell_left_out(index, picked)
    if as_json:
        from milepost.report.signal import as_json as signal_json

        click.echo(signal_json(signals))
        return
    from rich.console import Console

    from milepost.report.signal import signal_tables

    n_first = len({row.task for row in overview(picked)})
    most = None if everything or task else n_first + SUBJECTS_SHOWN
    console = Console(highlight=False)
    for part in signal_tables(signals, most=most):
        console.print(part, crop=False)
