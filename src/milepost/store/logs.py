"""Read the log of a checkpoint, for people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from milepost.errors import ResultsError
from milepost.store import safe_paths as inside
from milepost.store.folder import ResultsFolder

LOG = "evaluation.log"
MOST_BYTES = 500_000
"""Bytes; of a longer log only the end is read."""
_WARNING = re.compile(r"^\S+ \S+ (WARNING|ERROR|CRITICAL)\b\s*")


class LogLine(NamedTuple):
    """A line of a log."""

    text: str
    is_warning: bool

    @property
    def message(self) -> str:
        """The text without its time and level."""
        return _WARNING.sub("", self.text)


def read_log_lines(results: ResultsFolder, series: str, checkpoint: str) -> list[LogLine]:
    """Return the lines of a checkpoint's logs, of a long one those at its end; empty without a log."""
    return [line for folder in results.log_folders(series, checkpoint) for line in _lines_of(folder / LOG)]


def _lines_of(path: Path) -> list[LogLine]:
    try:
        data = inside.read_bytes(path)
    except (OSError, ResultsError):
        return []
    lines = data[-MOST_BYTES:].decode("utf-8", "replace").splitlines()
    return [LogLine(line, bool(_WARNING.match(line))) for line in lines]
