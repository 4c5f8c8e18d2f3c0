"""A results folder under way, and a recorder that keeps what it is given in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from milepost.recorders.recorder import RecordedRun, RecordedTable, Recorder, RecorderError
from milepost.recorders.recording import Recording
from milepost.store import open_folder
from milepost.store.leases import Leases
from milepost.store.workers import Worker
from milepost.types.checkpoints import Checkpoint


@dataclass
class Kept:
    """Every run that was opened, and what was logged, in order."""

    runs: list[RecordedRun] = field(default_factory=list)
    logged: list[tuple[int | None, Mapping[str, float], Sequence[RecordedTable]]] = field(
        default_factory=list
    )
    closed: int = 0
    fails: bool = False

    def open(self, run: RecordedRun) -> Recorder:
        self.runs.append(run)
        return _KeptRun(self)

    @property
    def curve(self) -> list[tuple[int | None, float]]:
        return [(step, metrics["arc_easy/acc"]) for step, metrics, _ in self.logged if metrics]

    @property
    def tables(self) -> list[str]:
        return [table.name for _, _, tables in self.logged for table in tables]


class _KeptRun:
    where = "kept: in memory"

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def log(self, step: int | None, metrics: Mapping[str, float], tables: Sequence[RecordedTable]) -> None:
        if self._kept.fails:
            raise RecorderError("kept: the disk is full")
        self._kept.logged.append((step, metrics, tables))

    def close(self) -> None:
        self._kept.closed += 1


@contextmanager
def recording(results: Path, recording: Recording) -> Iterator[Recording]:
    """Begin and end a run on `results` for `recording`."""
    folder = open_folder(results)
    with Worker(folder, {}) as worker:
        recording.begin(folder, Leases(folder, worker))
        try:
            yield recording
        finally:
            recording.end()


def record(results: Path, into: Recording, steps: Sequence[int | None], series: str = "run") -> None:
    """Call the recording for these checkpoints, in this order."""
    with recording(results, into):
        for step in steps:
            into.metrics_stored("plan", checkpoint(step, series))


def checkpoint(step: int | None, series: str = "run") -> Checkpoint:
    name = "main" if step is None else f"step-{step}"
    return Checkpoint(
        series=series, name=name, step=step, source=name, format="safetensors", location=Path(name)
    )
