"""Runs: how far the newest runs are, what went wrong, what it took, and how metrics came about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypedDict

from milepost.report.blocks import Block, Bullets, Details, Facts, Heading, Links, Note, Quote
from milepost.report.formatting import printable_lines
from milepost.report.notes import version_notes
from milepost.report.provenance import origin_facts, settings_facts, tasks_table
from milepost.report.table import grouped
from milepost.store.logs import LogLine, read_log_lines
from milepost.store.provenance import Provenance, read_provenance
from milepost.store.records import CheckpointRecord, RunRecord
from milepost.store.status import CheckpointStatus
from milepost.text.language import Phrase, _, ngettext
from milepost.text.safe_text import printable
from milepost.web.damage import damage_lines
from milepost.web.page import NotThere, Page, PageKind, Parameter, View
from milepost.web.progress import ProgressData, progress_data
from milepost.web.query import Query
from milepost.web.run_tables import checkpoints_table, commands_table, resources, workers_table

MOST_RUNS = 50
MOST_LINES = 200
"""Lines of a log that are shown, the last ones."""
MOST_LOGS = 60
"""Checkpoints, the last ones, whose warnings are gathered."""

State = tuple[str, CheckpointStatus]
"""A series, and how far one of its checkpoints is."""


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
    scoring_s: float | None
    peak_memory: int | None
    peak_gpu_memory: int | None


class RunCommand(TypedDict):
    """A command whose metrics are in the folder."""

    time: float | None
    command: str | None
    series: list[str]
    device: str | None
    dtype: str | None
    versions: dict[str, str]


class RunsData(TypedDict):
    """Progress of the newest runs, failures, damaged records, warnings, and one checkpoint's origin."""

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
    if wanted:
        visit = _visit(view, wanted)
        origin = next(iter(read_provenance(view.index, only=wanted)), None)
        lines = read_log_lines(view.index.folder, visit.series, visit.name)
        warnings = [line.text for line in lines if line.is_warning]
        title = printable(wanted)
        blocks = _of_checkpoint(visit, origin, lines)
    else:
        of_text = _warnings(view, states)
        origin, warnings, title = None, list(of_text), _("Runs")
        blocks = _blocks(view, states, of_text, query)
    data = RunsData(
        progress=progress_data(view.progress),
        workers=[dict(worker.record) for worker in view.progress.workers],
        checkpoints=[_checkpoint(view, *state) for state in states],
        runs=[_run(run) for run in view.index.runs[:MOST_RUNS]],
        damaged=view.index.damaged,
        origin=None if origin is None else asdict(origin),
        warnings=warnings,
    )
    return Page(title=title, blocks=tuple(blocks), data=data)


def _visit(view: View, full_name: str) -> CheckpointRecord:
    for visit in view.index.visits:
        if visit.full_name == full_name:
            return visit
    raise NotThere(Phrase("there is no such checkpoint"), Phrase("/runs lists those that there are"))


def _warnings(view: View, states: Sequence[State]) -> dict[str, list[str]]:
    """Return what the logs of the last checkpoints warn of, with the checkpoints that do."""
    found = [
        (line.message, f"{series} {each.checkpoint}")
        for series, each in states[-MOST_LOGS:]
        for line in read_log_lines(view.index.folder, series, each.checkpoint)
        if line.is_warning
    ]
    of_text = grouped(found, lambda pair: pair[0])
    return {text: list(dict.fromkeys(name for _text, name in own)) for text, own in of_text.items()}


# ---- one checkpoint ------------------------------------------------------------------------------------


def _of_checkpoint(
    visit: CheckpointRecord, origin: Provenance | None, lines: Sequence[LogLine]
) -> Iterator[Block]:
    yield Links(((_("All runs"), "/runs"),), _("Back"))
    if visit.failure is not None:
        yield Facts(((_("failed"), printable(visit.failure)),))
    time, memory, of_gpu = resources(visit)
    facts = [
        (_("format"), visit.format),
        (_("engine"), visit.engine),
        (_("slower because"), visit.fallback),
        (_("parameters"), None if visit.n_parameters is None else f"{visit.n_parameters:,}"),
        (_("device"), visit.device),
        (_("time to score"), time),
        (_("peak memory"), memory),
        (_("peak GPU memory"), of_gpu),
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


# ---- all checkpoints -----------------------------------------------------------------------------------


def _blocks(
    view: View, states: Sequence[State], warnings: dict[str, list[str]], query: Query
) -> Iterator[Block]:
    yield from damage_lines(view.index.damaged)
    if view.progress.workers:
        yield workers_table(view.progress.workers)
    if states:
        yield checkpoints_table(view, states, query)
    else:
        yield Note(_("Nothing is measured yet."))
    if warnings:
        yield Heading(ngettext("{n} warning", "{n} warnings", len(warnings)))
        yield Bullets(tuple(_warning(text, names) for text, names in warnings.items()))
    yield from map(Note, version_notes(view.index.checkpoints(), set(view.index.series)))
    if view.index.runs:
        yield commands_table(view.index.runs[:MOST_RUNS])
    for part in view.index.parts:
        place = [printable(str(part.folder.path))] if len(view.index.parts) > 1 else []
        if facts := settings_facts(part.newest):
            yield Heading(": ".join([_("How it was measured"), *place]))
            yield Facts(facts)
        tasks = tasks_table(part.newest)
        if tasks.rows:
            summary = ngettext("{n} task: version and data", "{n} tasks: versions and data", len(tasks.rows))
            yield Details(summary, (tasks,))


def _warning(text: str, names: Sequence[str]) -> str:
    first = printable(names[0])
    if len(names) == 1:
        return f"{first}: {printable(text)}"
    where = _("{name} and {n} more", name=first, n=len(names) - 1)
    return f"{where}: {printable(text)}"


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
        scoring_s=visit.scoring_s if visit else None,
        peak_memory=visit.peak_memory if visit else None,
        peak_gpu_memory=visit.peak_gpu_memory if visit else None,
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


PAGE = PageKind(
    name="runs",
    label="Runs",
    about="How far the newest runs are, what failed, what it took, and how it was measured.",
    make=runs,
    data=RunsData,
    parameters=(Parameter(name="checkpoint", about="series/checkpoint: its origin, its warnings, its log."),),
    is_live=True,
)
