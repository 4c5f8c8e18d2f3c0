"""The tables of the page of runs: checkpoints with their times and resources, processes, commands."""

from __future__ import annotations

from collections.abc import Sequence

from milepost.report.formatting import NOT_MEASURED, utc_time
from milepost.report.table import Cell, CellRow, Table, cells, columns
from milepost.store.records import CheckpointRecord, RunRecord
from milepost.store.status import CheckpointStatus
from milepost.store.workers import WorkerRecord
from milepost.text.byte_sizes import format_bytes
from milepost.text.durations import format_duration
from milepost.text.language import _
from milepost.text.safe_text import printable
from milepost.web.page import View
from milepost.web.query import Query

_OFTEN_EMPTY = ("peak memory", "peak GPU memory", "slower because")
"""Columns that take no room where no checkpoint has them."""


def checkpoints_table(view: View, states: Sequence[tuple[str, CheckpointStatus]], query: Query) -> Table:
    """Return a row per checkpoint of the newest runs: how far it is, and what it took."""
    lang = {"lang": [query.text("lang")]} if query.text("lang") else {}
    table = Table(
        columns(
            "series", "checkpoint", "shards", "state", "time", "peak memory", "peak GPU memory", "engine",
            "device", "parameters", "slower because",
            left=("series", "checkpoint", "state", "engine", "device"), wraps=("state", "slower because"),
        ),
        tuple(_checkpoint(view, series, each, Query(lang)) for series, each in states),
        title=_("Checkpoints of the newest runs"),
    )  # fmt: skip
    return table.without([name for name in _OFTEN_EMPTY if _is_empty(table, name)])


def _is_empty(table: Table, name: str) -> bool:
    place = [column.name for column in table.columns].index(name)
    return all(row[place].text in ("", NOT_MEASURED) for row in table.rows)


def _checkpoint(view: View, series: str, status: CheckpointStatus, links: Query) -> CellRow:
    visit = view.index.visit(series, status.checkpoint)
    href = "/runs" + links.having(checkpoint=f"{series}/{status.checkpoint}") if visit else ""
    took = resources(visit) if visit else ("", "", "")
    return cells(
        [
            printable(series),
            Cell(printable(status.checkpoint), href=href),
            f"{status.shards_done:,}/{status.shards:,}",
            _state(status),
            *(text or NOT_MEASURED for text in took),
            printable(visit.engine or "") if visit else "",
            printable(visit.device or "") if visit else "",
            f"{visit.n_parameters:,}" if visit and visit.n_parameters is not None else NOT_MEASURED,
            printable(visit.fallback or "") if visit else "",
        ]
    )


def resources(visit: CheckpointRecord) -> tuple[str, str, str]:
    """Return the time that scoring took, and the peak of memory and of GPU memory; empty where unknown."""
    peaks = (visit.peak_memory, visit.peak_gpu_memory)
    time = "" if visit.scoring_s is None else format_duration(visit.scoring_s)
    memory, of_gpu = ("" if peak is None else format_bytes(peak) for peak in peaks)
    return time, memory, of_gpu


def _state(checkpoint: CheckpointStatus) -> Cell:
    if checkpoint.failure is not None:
        return Cell(_("failed: {reason}", reason=printable(checkpoint.failure)), "problem")
    if checkpoint.has_metrics:
        return Cell(_("done"))
    if checkpoint.shards and checkpoint.shards_done == checkpoint.shards:
        return Cell(_("all scored, metrics to come"))
    return Cell(_("in work") if checkpoint.shards_done else _("not begun"))


def workers_table(workers: Sequence[WorkerRecord]) -> Table:
    """Return a row per process at work."""
    names = ("machine", "process", "state", "since", "at work on")
    return Table(
        columns("machine", "process", "state", "since", "at work on", left=names),
        tuple(map(_worker, workers)),
        title=_("Processes at work"),
    )


def _worker(worker: WorkerRecord) -> CellRow:
    at = f"{worker.record.get('series', '')} {worker.record.get('checkpoint', '')}".strip()
    return cells(
        [
            printable(str(worker.record.get("host", ""))),
            printable(str(worker.record.get("pid", ""))),
            _("stopped") if worker.stopped else _("running"),
            utc_time(worker.since) if worker.since else NOT_MEASURED,
            printable(at),
        ]
    )


def commands_table(found: Sequence[RunRecord]) -> Table:
    """Return a row per run: when it began, and with what."""
    return Table(
        columns(
            "begun", "command", "device", "versions", left=("begun", "device"), wraps=("command", "versions")
        ),
        tuple(map(_command, found)),
        title=_("Commands, the newest first"),
    )


def _command(run: RunRecord) -> CellRow:
    return cells(
        [
            NOT_MEASURED if run.time is None else utc_time(run.time),
            printable(run.command or ""),
            printable(run.device or ""),
            printable(", ".join(f"{name} {number}" for name, number in run.versions.items())),
        ]
    )
