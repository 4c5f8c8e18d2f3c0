"""`milepost signal`: which tasks of a results folder are worth watching at this scale."""

from __future__ import annotations

from pathlib import Path

import click

from milepost.analysis.selection import overview
from milepost.cli.output import say_blocks, say_json
from milepost.cli.selection import patterns, results_argument, task_option
from milepost.report.signal import signal_records, signal_report
from milepost.results import Selection
from milepost.results.signal import rate_tasks
from milepost.store import ResultsIndex

SUBJECTS_SHOWN = 20


@click.command()
@results_argument
@task_option(help="Tasks and groups, by name or pattern; else all.")
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
    index = ResultsIndex.open(results)
    signals, rows = rate_tasks(index, Selection(tasks=task, series=series), last)
    if as_json:
        say_json(signal_records(signals))
        return
    n_groups = len({row.label for row in overview(rows)})
    say_blocks(signal_report(signals, most=None if everything or task else n_groups + SUBJECTS_SHOWN))
