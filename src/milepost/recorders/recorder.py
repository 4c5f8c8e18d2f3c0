"""What a recorder is: a place to write a training run's figures to, each at its step. Knows no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from milepost.errors import MilepostError

Cell = str | int | float | None


class RecorderError(MilepostError):
    """A recorder cannot be used, or no longer; the figures are in the results folder all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """One run of a recorder: one training series, asked in one way."""

    project: str
    run_id: str
    """Names the run for good: who opens it again goes on with it."""
    name: str
    folder: Path
    """Where a recorder without a place of its own keeps its files."""
    config: Mapping[str, object]
    """What the run's page says about it: plain JSON."""


@dataclass(frozen=True, slots=True)
class RecordedTable:
    """Rows under named columns."""

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]


class Recorder(Protocol):
    """A run that is open.

    Steps may come in any order, and the same step more than once.
    """

    where: str
    """One line for people: where it is recorded and how to look at it."""

    def log(self, step: int | None, figures: Mapping[str, float], tables: Sequence[RecordedTable]) -> None:
        """Write figures and tables at a step; with no step, tables only.

        Raises:
            RecorderError: they cannot be written.
        """

    def close(self) -> None:
        """See that everything is written, and end.

        Raises:
            RecorderError: it cannot be.
        """
