"""The interface of a recorder: it receives the metrics of a training run, each at its step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from milepost.errors import MilepostError

Cell = str | int | float | None


class RecorderError(MilepostError):
    """A recorder cannot be used (any more); all metrics are in the results folder nevertheless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """One run of a recorder: one training series with one set of settings."""

    project: str
    run_id: str
    """Stable id of the run; opening it again resumes the run."""
    name: str
    folder: Path
    """Folder for a recorder that has no place for its files."""
    config: Mapping[str, object]
    """Shown on the run's page: plain JSON."""


@dataclass(frozen=True, slots=True)
class RecordedTable:
    """Rows under named columns."""

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]


class Recorder(Protocol):
    """An open run. Steps may come in any order, and the same step more than once."""

    where: str
    """One line for people: where the run is recorded and how to look at it."""

    def log(self, step: int | None, metrics: Mapping[str, float], tables: Sequence[RecordedTable]) -> None:
        """Write metrics and tables at a step; without a step, tables only.

        Raises:
            RecorderError: they cannot be written.
        """

    def close(self) -> None:
        """Finish writing, and close the run.

        Raises:
            RecorderError: not everything could be written.
        """
