"""`milepost status`: the processes at work on a results folder, and how far they are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from milepost.cli.output import say, say_json, tell_command
from milepost.cli.selection import results_argument
from milepost.store import ResultsIndex
from milepost.store.status import CheckpointStatus, SeriesStatus, Status, read_status
from milepost.text.durations import time_left
from milepost.text.language import _


@click.command("status")
@results_argument
@click.option("--json", "as_json", is_flag=True, help="Print the status as a JSON object.")
def command(results: Path, as_json: bool) -> None:
    """Say which processes work on RESULTS, which checkpoints are done and which are left."""
    status = read_status(ResultsIndex.open(results))
    if as_json:
        say_json(_record(status))
        return
    for worker in status.workers:
        record = worker.record
        at = {name: record.get(name) for name in ("series", "checkpoint")}
        where = _(", at {series} {checkpoint}", **at) if at["checkpoint"] else ""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["since"]))
        state = _("stopped") if worker.stopped else _("running")
        say(
            _(
                "{state}: process {pid} on {host} since {since}{where}",
                state=state,
                pid=record["pid"],
                host=record["host"],
                since=since,
                where=where,
            )
            + (_(", {left}", left=time_left(worker.left_s)) if worker.left_s is not None else "")
        )
    if not status.workers:
        say(_("nothing is running"))
    if len(status.workers) > 1 and status.left_s is not None:
        say(_("together: {left}", left=time_left(status.left_s)))
    for series in status.series:
        _say_series(series, running=bool(status.workers))


def _say_series(series: SeriesStatus, *, running: bool) -> None:
    say(
        _(
            "{series}: {n_done} of {n_checkpoints} checkpoints done",
            series=series.series,
            n_done=series.n_done,
            n_checkpoints=len(series.checkpoints),
        )
    )
    for checkpoint in series.checkpoints:
        if checkpoint.failure is not None:
            say(
                _(
                    "  {checkpoint}: failed: {failure}",
                    checkpoint=checkpoint.checkpoint,
                    failure=checkpoint.failure,
                )
            )
        elif not checkpoint.has_metrics:
            say(f"  {checkpoint.checkpoint}: {_progress(checkpoint)}")
    all_done = all(checkpoint.has_metrics for checkpoint in series.checkpoints)
    if not all_done and not running and series.command:
        tell_command(_("go on with:  {command}", command=series.command))


def _progress(checkpoint: CheckpointStatus) -> str:
    if checkpoint.shards_done == checkpoint.shards:
        return _("all scored, metrics to come")
    done = checkpoint.shards_done
    return _("{done} of {n} shards", done=done, n=checkpoint.shards) if done else _("not begun")


def _record(status: Status) -> dict[str, Any]:
    return {
        "results": str(status.results.path),
        "running": [dict(worker.record) for worker in status.workers],
        "left_s": status.left_s,
        "series": [
            {
                "series": series.series,
                "plan_id": series.plan_id,
                "command": series.command,
                "done": series.n_done,
                "checkpoints": [
                    {
                        "checkpoint": checkpoint.checkpoint,
                        "shards_done": checkpoint.shards_done,
                        "shards": checkpoint.shards,
                        "done": checkpoint.has_metrics,
                        "failure": checkpoint.failure,
                    }
                    for checkpoint in series.checkpoints
                ],
            }
            for series in status.series
        ],
    }
