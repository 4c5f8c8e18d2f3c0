"""Read the trackers in which trainers note the last checkpoint that is complete.

Megatron-LM: `latest_checkpointed_iteration.txt`, a number or `release` (training/checkpointing.py).
DeepSpeed: `latest`, the name of a folder (runtime/engine.py). Each is written after its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from milepost.sources.formats.format import is_plain
from milepost.sources.regular_files import read_regular

_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Tracked:
    """The contents of a tracker."""

    file: str
    """File name of the tracker."""
    folder: str
    """Name of the last complete folder."""


def last_finished(run: Path) -> Tracked | None:
    """Return the contents of the tracker in a run's folder; None without a valid one.

    Raises:
        OSError: the tracker cannot be read.
    """
    for name, folder_of in _TRACKERS.items():
        if (run / name).is_file():
            text = read_regular(run / name, _MAX_BYTES).decode("utf-8", "replace").strip()
            folder = folder_of(text)
            return Tracked(name, folder) if is_plain(folder) and folder.isprintable() else None
    return None


def _megatron(text: str) -> str:
    if text == "release":
        return text
    return f"iter_{int(text):07d}" if text.isdecimal() and len(text) < 19 else ""


_TRACKERS: Mapping[str, Callable[[str], str]] = {
    "latest_checkpointed_iteration.txt": _megatron,
    "latest": lambda text: text,
}
