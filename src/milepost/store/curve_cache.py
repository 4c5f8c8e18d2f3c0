"""What the curves of a results folder show, kept by the last run for those who only look.

    store/training.json

It holds nothing that could not be computed again, and names the state of the records that it was made of: as
soon as anything is added to them, it counts for nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from milepost.errors import ResultsError
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import read_json, write_json
from milepost.store.folder import ResultsFolder

_FORM = 2
"""Raised whenever the same docs are summed up otherwise."""

RECORDS = ("runs", "checkpoints", "metrics")
"""The folders whose records decide which figures are shown."""


def write_note(results: ResultsFolder, curves: Sequence[dict[str, Any]]) -> None:
    """Keep the curves, as plain data.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    write_json(_path(results), {"form": _FORM, "state": _state(results), "curves": list(curves)})


def read_note(results: ResultsFolder) -> list[dict[str, Any]]:
    """What `write_note` kept; empty where there is nothing, or something has changed since."""
    path = _path(results)
    if not path.exists():
        return []
    try:
        note = read_json(path)
    except ResultsError:
        return []  # it is made anew by the next run, and until then computed
    if note.get("form") != _FORM or note["state"] != _state(results):
        return []
    curves: list[dict[str, Any]] = note["curves"]
    return curves


def _path(results: ResultsFolder) -> Path:
    return results.path / "store" / "training.json"


def _state(results: ResultsFolder) -> str:
    """A name for the records as they are now: which there are, and what the checkpoints' say."""
    digest = hashlib.sha256()
    store = results.path / "store"
    for folder in RECORDS:
        for path in inside.files_below(store / folder, "*.json"):
            # A figure that is tried again is written in the place of the one before.
            digest.update(f"{path.relative_to(store)} {path.stat().st_size}\0".encode())
            if folder == "checkpoints":
                digest.update(inside.read_bytes(path))
    return digest.hexdigest()
