"""Runs: where the metrics come from, what went wrong, and how far the newest runs are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from milepost.report.blocks import Block, Details, Facts, Heading, Note
from milepost.report.provenance import settings_facts, tasks_table
from milepost.report.table import Cell, Table, cells, columns
from milepost.safe_text import printable
from milepost.store.status import CheckpointStatus
from milepost.web.page import Page, PageKind, View
from milepost.web.progress import ProgressData, progress_data
from milepost.web.query import Query


class RunCheckpoint(TypedDict):
    """A checkpoint that the newest run of its series was asked for."""

    series: str
    checkpoint: str
    shards_done: int
    shards: int
    done: bool
    failure: str | None


class RunsData(TypedDict):
    """Progress of the newest runs, failures, and damaged records."""

    progress: ProgressData
    checkpoints: list[RunCheckpoint]
    damaged: dict[str, str]


def runs(view: View, query: Query) -> Page:
    """Return the page of runs."""
    states = [(series.series, each) for series in view.progress.series for each in series.checkpoints]
    return Page(
        title="Runs",
        blocks=tuple(_blocks(view, states)),
        data=RunsData(
            progress=progress_data(view.progress),
            checkpoints=[
                RunCheckpoint(
                    series=series,
                    checkpoint=each.checkpoint,
                    shards_done=each.shards_done,
                    shards=each.shards,
                    done=each.has_metrics,
                    failure=each.failure,
                )
                for series, each in states
            ],
            damaged=view.index.damaged,
        ),
    )


def _blocks(view: View, states: list[tuple[str, CheckpointStatus]]) -> Iterator[Block]:
    for place, reason in view.index.damaged.items():
        yield Note(f"damaged and left out: {printable(place)}: {printable(reason)}")
    yield Table(
        columns(
            "series",
            "checkpoint",
            "shards",
            "state",
            left=("series", "checkpoint", "state"),
            wraps=("state",),
        ),
        tuple(
            cells(
                [
                    printable(series),
                    printable(each.checkpoint),
                    f"{each.shards_done:,} of {each.shards:,}",
                    _state(each),
                ]
            )
            for series, each in states
        ),
    )
    if facts := settings_facts(view.index.newest):
        yield Heading("How it was measured")
        yield Facts(facts)
    tasks = tasks_table(view.index.newest)
    if tasks.rows:
        yield Details(f"{len(tasks.rows)} tasks: versions and data", (tasks,))


def _state(checkpoint: CheckpointStatus) -> Cell:
    if checkpoint.failure is not None:
        return Cell(f"failed: {printable(checkpoint.failure)}", "problem")
    if checkpoint.has_metrics:
        return Cell("done")
    return Cell("all scored, metrics to come" if checkpoint.shards_done == checkpoint.shards else "waiting")


PAGE = PageKind(
    name="runs",
    label="Runs",
    about="How far the newest runs are, what failed, and how it was measured.",
    make=runs,
    data=RunsData,
    is_live=True,
)
