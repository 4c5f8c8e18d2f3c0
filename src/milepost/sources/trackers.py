"""Small files beside the checkpoints in which a trainer notes the last one that it finished writing.

Megatron-LM: `latest_checkpointed_iteration.txt`, a number or `release` (training/checkpointing.py).
DeepSpeed: `latest`, the name of a folder (runtime/engine.py). Each is written after the folder it speaks of.
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
    """What a tracker says."""

    file: str
    """The tracker's own name."""
    folder: str
    """The name of the folder that was finished last."""


def last_finished(run: Path) -> Tracked | None:
    """What the tracker in a run's folder says; None where there is none, or nothing that makes sense.

    Raises:
        OSError: it is there and cannot be read.
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
