"""`milepost status`: what runs on a results folder, what is done and what is left."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from milepost.cli.selection import results_argument
from milepost.safe_text import printable
from milepost.store import ResultsIndex
from milepost.store.status import CheckpointStatus, SeriesStatus, Status, read_status


@click.command("status")
@results_argument
@click.option("--json", "as_json", is_flag=True, help="An object with all of it.")
def command(results: Path, as_json: bool) -> None:
    """Say which processes work on RESULTS, which checkpoints are done and which are left."""
    status = read_status(ResultsIndex.open(results))
    if as_json:
        click.echo(json.dumps(_as_object(status), ensure_ascii=False, indent=1))
        return
    for worker in status.workers:
        at = worker.record
        where = f", at {at['series']} {at['checkpoint']}" if "checkpoint" in at else ""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at["since"]))
        state = "stopped" if worker.stopped else "running"
        click.echo(printable(f"{state}: process {at['pid']} on {at['host']} since {since}{where}"))
    if not status.workers:
        click.echo("nothing is running")
    for series in status.series:
        _say(series, running=bool(status.workers))


def _say(series: SeriesStatus, *, running: bool) -> None:
    n = len(series.checkpoints)
    click.echo(printable(f"{series.series}: {series.n_done} of {n} checkpoints done"))
    left = [one for one in series.checkpoints if not one.has_metrics]
    for one in series.checkpoints:
        if one.failure is not None:
            click.echo(printable(f"  {one.checkpoint}: failed: {one.failure}"))
        elif one in left:
            click.echo(printable(f"  {one.checkpoint}: {_progress(one)}"))
    if left and not running and series.command:
        click.echo(f"go on with:  {printable(series.command)}", err=True)


def _progress(one: CheckpointStatus) -> str:
    if one.shards_done == one.shards:
        return "all scored, figures to come"
    return f"{one.shards_done} of {one.shards} shards" if one.shards_done else "not begun"


def _as_object(status: Status) -> dict[str, Any]:
    return {
        "results": str(status.results.path),
        "running": [dict(worker.record) for worker in status.workers],
        "series": [
            {
                "series": series.series,
                "plan_id": series.plan_id,
                "command": series.command,
                "done": series.n_done,
                "checkpoints": [
                    {
                        "checkpoint": one.checkpoint,
                        "shards_done": one.shards_done,
                        "shards": one.shards,
                        "done": one.has_metrics,
                        "failure": one.failure,
                    }
                    for one in series.checkpoints
                ],
            }
            for series in status.series
        ],
    }
