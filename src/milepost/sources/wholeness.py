"""Whether a weight file is all there, told from its head and its end without reading what lies between."""

from __future__ import annotations

import zipfile
from pathlib import Path

from milepost.errors import CheckpointError
from milepost.sources.names import shown
from milepost.sources.safetensors_header import read_header

_ZIP = b"PK\3\4"


def check_whole(path: Path, format: str) -> None:
    """Refuse a weight file that is cut short, as one that is still being written is.

    Raises:
        CheckpointError: naming the file; also where it cannot be read.
    """
    if format == "safetensors":
        read_header(path)
    elif format == "bin":
        _check_zip(path)


def _check_zip(path: Path) -> None:
    """torch writes a zip archive, whose directory comes last; before torch 1.6 it wrote a bare pickle."""
    try:
        with path.open("rb") as file:
            cut_short = file.read(len(_ZIP)) == _ZIP and not zipfile.is_zipfile(file)
    except OSError as error:
        raise CheckpointError(f"{shown(str(path))} cannot be read: {error.strerror or error}") from error
    if cut_short:
        raise CheckpointError(f"{shown(str(path))} is cut short", "copy or download the file again")
