"""Runs: how far the newest runs are, what went wrong, and how each checkpoint's metrics came about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypedDict

from milepost.language import _, ngettext
from milepost.report.blocks import Block, Details, Facts, Heading, Links, Note, Quote
from milepost.report.formatting import NOT_MEASURED, printable_lines, utc_time
from milepost.report.notes import version_notes
from milepost.report.provenance import origin_facts, settings_facts, tasks_table
from milepost.report.table import Cell, CellRow, Table, cells, columns
from milepost.safe_text import printable
from milepost.store.logs import LogLine, read_log_lines
from milepost.store.provenance import Provenance, read_provenance
from milepost.store.records import CheckpointRecord, RunRecord
from milepost.store.status import CheckpointStatus
from milepost.store.workers import WorkerRecord
from milepost.web.damage import damage_lines
from milepost.web.page import NotThere, Page, PageKind, Parameter, View
from milepost.web.progress import ProgressData, progress_data
from milepost.web.query import Query

MOST_RUNS = 50
MOST_LINES = 200
"""Lines of a log that are shown, the last ones."""


class RunCheckpoint(TypedDict):
    """A checkpoint that the newest run of its series was asked for."""

    series: str
    checkpoint: str
    step: int | None
    shards_done: int
    shards: int
    done: bool
    failure: str | None
    source: str | None
    engine: str | None
    fallback: str | None
    device: str | None
    n_parameters: int | None
    versions: dict[str, str]


class RunCommand(TypedDict):
    """A command whose metrics are in the folder."""

    time: float | None
    command: str | None
    series: list[str]
    device: str | None
    dtype: str | None
    versions: dict[str, str]


class RunsData(TypedDict):
    """Progress of the newest runs, failures, damaged records, and one checkpoint's origin."""

    progress: ProgressData
    workers: list[dict[str, Any]]
    checkpoints: list[RunCheckpoint]
    runs: list[RunCommand]
    damaged: dict[str, str]
    origin: dict[str, Any] | None
    warnings: list[str]


def runs(view: View, query: Query) -> Page:
    """Return the page of runs, or of one checkpoint where the address names it."""
    states = [(series.series, each) for series in view.progress.series for each in series.checkpoints]
    wanted = query.text("checkpoint")
    origin, lines = _one(view, wanted) if wanted else (None, [])
    data = RunsData(
        progress=progress_data(view.progress),
        workers=[dict(worker.record) for worker in view.progress.workers],
        checkpoints=[_checkpoint(view, *state) for state in states],
        runs=[_run(run) for run in view.index.runs[:MOST_RUNS]],
        damaged=view.index.damaged,
        origin=None if origin is None else asdict(origin),
        warnings=[line.text for line in lines if line.is_warning],
    )
    if wanted:
        title = printable(wanted)
        return Page(title=title, blocks=tuple(_one_blocks(view, wanted, origin, lines)), data=data)
    return Page(title=_("Runs"), blocks=tuple(_blocks(view, states, query)), data=data)


def _one(view: View, full_name: str) -> tuple[Provenance | None, list[LogLine]]:
    """Return where a checkpoint's metrics come from, and what its log says."""
    visit = _visit(view, full_name)
    found = read_provenance(view.index, only=full_name)
    return next(iter(found), None), read_log_lines(view.index.folder, visit.series, visit.name)


def _visit(view: View, full_name: str) -> CheckpointRecord:
    for visit in view.index.visits:
        if visit.full_name == full_name:
            return visit
    raise NotThere("there is no such checkpoint", "/runs lists those that there are")


def _one_blocks(
    view: View, full_name: str, origin: Provenance | None, lines: Sequence[LogLine]
) -> Iterator[Block]:
    visit = _visit(view, full_name)
    yield Links(((_("All runs"), "/runs"),), _("Back"))
    if visit.failure is not None:
        yield Facts(((_("failed"), printable(visit.failure)),))
    facts = [
        (_("format"), visit.format),
        (_("engine"), visit.engine),
        (_("slower because"), visit.fallback),
        (_("parameters"), None if visit.n_parameters is None else f"{visit.n_parameters:,}"),
        (_("device"), visit.device),
    ]
    yield Facts(tuple((name, printable(value)) for name, value in facts if value))
    if origin is not None:
        yield Heading(_("Where the metrics come from"))
        yield Facts(origin_facts(origin))
    warnings = [line for line in lines if line.is_warning]
    if warnings:
        yield Heading(ngettext("{n} warning", "{n} warnings", len(warnings)))
        yield Quote(printable_lines("\n".join(line.text for line in warnings[-MOST_LINES:])))
    if lines:
        shown = printable_lines("\n".join(line.text for line in lines[-MOST_LINES:]))
        yield Details(_("The end of its log"), (Quote(shown),))
    else:
        yield Note(_("It has no log here."))


def _checkpoint(view: View, series: str, status: CheckpointStatus) -> RunCheckpoint:
    visit = view.index.visit(series, status.checkpoint)
    return RunCheckpoint(
        series=series,
        checkpoint=status.checkpoint,
        step=visit.step if visit else None,
        shards_done=status.shards_done,
        shards=status.shards,
        done=status.has_metrics,
        failure=status.failure,
        source=visit.source if visit else None,
        engine=visit.engine if visit else None,
        fallback=visit.fallback if visit else None,
        device=visit.device if visit else None,
        n_parameters=visit.n_parameters if visit else None,
        versions=dict(visit.versions) if visit else {},
    )


def _run(run: RunRecord) -> RunCommand:
    return RunCommand(
        time=run.time,
        command=run.command,
        series=list(run.series),
        device=run.device,
        dtype=run.dtype,
        versions=dict(run.versions),
    )


def _blocks(view: View, states: Sequence[tuple[str, CheckpointStatus]], query: Query) -> Iterator[Block]:
    yield from damage_lines(view.index.damaged)
    if view.progress.workers:
        yield _workers_table(view.progress.workers)
    if states:
        yield _checkpoints_table(view, states, query)
    else:
        yield Note(_("Nothing is measured yet."))
    yield from map(Note, version_notes(view.index.checkpoints(), set(view.index.series)))
    if view.index.runs:
        yield _commands_table(view.index.runs[:MOST_RUNS])
    if facts := settings_facts(view.index.newest):
        yield Heading(_("How it was measured"))
        yield Facts(facts)
    tasks = tasks_table(view.index.newest)
    if tasks.rows:
        summary = ngettext("{n} task: version and data", "{n} tasks: versions and data", len(tasks.rows))
        yield Details(summary, (tasks,))


def _checkpoints_table(view: View, states: Sequence[tuple[str, CheckpointStatus]], query: Query) -> Table:
    lang = {"lang": query.text("lang")} if query.text("lang") else {}
    links = Query({name: [value] for name, value in lang.items()})
    return Table(
        columns(
            "series", "checkpoint", "shards", "state", "engine", "device", "parameters", "slower because",
            left=("series", "checkpoint", "state", "engine", "device"), wraps=("state", "slower because"),
            headings={
                "series": _("series"), "checkpoint": _("checkpoint"), "shards": _("shards"),
                "state": _("state"), "engine": _("engine"), "device": _("device"),
                "parameters": _("parameters"), "slower because": _("slower because"),
            },
        ),
        tuple(_row(view, series, each, links) for series, each in states),
        title=_("Checkpoints of the newest runs"),
    )  # fmt: skip


def _row(view: View, series: str, status: CheckpointStatus, links: Query) -> CellRow:
    visit = view.index.visit(series, status.checkpoint)
    href = "/runs" + links.having(checkpoint=f"{series}/{status.checkpoint}") if visit else ""
    return cells(
        [
            printable(series),
            Cell(printable(status.checkpoint), href=href),
            f"{status.shards_done:,}/{status.shards:,}",
            _state(status),
            printable(visit.engine or "") if visit else "",
            printable(visit.device or "") if visit else "",
            f"{visit.n_parameters:,}" if visit and visit.n_parameters is not None else NOT_MEASURED,
            printable(visit.fallback or "") if visit else "",
        ]
    )


def _state(checkpoint: CheckpointStatus) -> Cell:
    if checkpoint.failure is not None:
        return Cell(_("failed: {reason}", reason=printable(checkpoint.failure)), "problem")
    if checkpoint.has_metrics:
        return Cell(_("done"))
    if checkpoint.shards and checkpoint.shards_done == checkpoint.shards:
        return Cell(_("all scored, metrics to come"))
    return Cell(_("in work") if checkpoint.shards_done else _("not begun"))


def _workers_table(workers: Sequence[WorkerRecord]) -> Table:
    def row(worker: WorkerRecord) -> CellRow:
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

    headings = {"host": _("machine"), "process": _("process"), "state": _("state")}
    headings |= {"since": _("since"), "at": _("at work on")}
    return Table(
        columns(*headings, left=tuple(headings), headings=headings),
        tuple(map(row, workers)),
        title=_("Processes at work"),
    )


def _commands_table(found: Sequence[RunRecord]) -> Table:
    headings = {"time": _("time"), "command": _("command"), "device": _("device"), "versions": _("versions")}
    return Table(
        columns(*headings, left=("time", "device"), wraps=("command", "versions"), headings=headings),
        tuple(
            cells(
                [
                    NOT_MEASURED if run.time is None else utc_time(run.time),
                    printable(run.command or ""),
                    printable(run.device or ""),
                    printable(", ".join(f"{name} {number}" for name, number in run.versions.items())),
                ]
            )
            for run in found
        ),
        title=_("Commands, the newest first"),
    )


PAGE = PageKind(
    name="runs",
    label="Runs",
    about="How far the newest runs are, what failed, and how it was measured.",
    make=runs,
    data=RunsData,
    parameters=(Parameter(name="checkpoint", about="series/checkpoint: its origin, its warnings, its log."),),
    is_live=True,
)
