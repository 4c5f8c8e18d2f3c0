"""`milepost signal`: which tasks of a results folder are worth watching at this scale."""

from __future__ import annotations

from pathlib import Path

import click

from milepost.analysis.selection import overview, select
from milepost.cli.selection import patterns, results_argument, tell_left_out
from milepost.store import open_results
from milepost.store.reading import LeftOut, measurements_of, picks_of, read_current

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
    from milepost.analysis.log_scale import on_log_scale
    from milepost.analysis.task_signal import task_signals

    left_out: list[LeftOut] = []
    folder = open_results(results)
    current = list(read_current(folder, left_out))
    picked = select(measurements_of(current), tasks=task, series=series)
    signals = task_signals(picked, picks_of(current), last, ratios=on_log_scale(folder, current))
    tell_left_out(left_out, picked)
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
