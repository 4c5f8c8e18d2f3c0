"""Pickles that would run a command if anything unpickled them, for the tests that nothing does."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any


class Command:
    """Pickles to a call of `os.system`, which creates `mark`."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self._mark}'",)


def bomb(mark: Path) -> bytes:
    """A bare pickle that creates `mark` when it is loaded."""
    return pickle.dumps(Command(mark))


def assert_armed(data: bytes, mark: Path) -> None:
    """Show that the pickle does what it says, so that the absence of `mark` proves something."""
    pickle.loads(data)
    assert mark.exists()
    mark.unlink()
