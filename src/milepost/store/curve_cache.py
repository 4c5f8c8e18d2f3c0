"""Cache what the curves of a results folder show: the last run computes it, and readers need not.

    store/training.json

The cache holds nothing that could not be computed again. It names the state of the records that it was made
of, and is ignored as soon as that changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from milepost.errors import ResultsError
from milepost.store import file_state, listing
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import read_json, write_json
from milepost.store.folder import ResultsFolder

_FORM = 4
"""Raised whenever the same docs are summed up otherwise, or the notes have other entries."""

RECORDS = ("runs", "checkpoints", "metrics")
"""Kinds of records that decide which metrics are shown."""


def write_cached_curves(results: ResultsFolder, curves: Sequence[dict[str, Any]]) -> None:
    """Keep the curves, as plain data.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    write_json(results.curve_cache_path, {"form": _FORM, "state": _state(results), "curves": list(curves)})


def read_cached_curves(results: ResultsFolder) -> list[dict[str, Any]]:
    """Return the cached curves; empty where there are none, or a record has changed since."""
    path = results.curve_cache_path
    if not file_state.exists(path):
        return []
    try:
        note = read_json(path)
    except ResultsError:
        return []  # the next run makes it anew
    if note.get("form") != _FORM or note["state"] != _state(results):
        return []
    curves: list[dict[str, Any]] = note["curves"]
    return curves


def _state(results: ResultsFolder) -> str:
    """Return a name for the records as they are now: which there are, and what the checkpoints' hold."""
    digest = hashlib.sha256()
    for folder in RECORDS:
        for path in listing.files_below(results.folder_of(folder), "*.json"):
            # A metric that is tried again is written in the place of the one before.
            digest.update(f"{path.relative_to(results.store)} {file_state.size_of(path)}\0".encode())
            if folder == "checkpoints":
                digest.update(inside.read_bytes(path))
    return digest.hexdigest()
