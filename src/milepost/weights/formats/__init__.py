"""Readers of the checkpoint formats: one folder per format, named as in `milepost.sources.formats`.

`FOLDER/reader.py` defines `READER`.
"""

from __future__ import annotations

from importlib import import_module

from milepost.sources.formats import format_named
from milepost.weights.reader import Reader


def reader_of(format: str) -> Reader | None:
    """Return the reader of a format, by its name; None for an unknown format."""
    described = format_named(format)
    if described is None:
        return None
    reader: Reader = import_module(f"{__name__}.{described.folder}.reader").READER
    return reader
