"""Whether a weight file is all there, told from its head and its end without reading what lies between."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.sources.names import shown
from milepost.sources.regular_files import open_regular

_ZIP = b"PK\3\4"


def first_refusal(folder: Path, names: Iterable[str], check: Callable[[Path], Any]) -> str | None:
    """What `check` says against the first file that it refuses, without the folder's own path."""
    for name in names:
        try:
            check(folder / name)
        except CheckpointError as error:
            return error.message.replace(shown(str(folder) + os.sep), "")
    return None


def check_zip(path: Path) -> None:
    """Refuse a file of `torch.save` that is cut short, as one that is still being written is.

    torch writes a zip archive, whose directory comes last; before torch 1.6 it wrote a bare pickle.

    Raises:
        CheckpointError: naming the file; also where it cannot be read.
    """
    try:
        with open_regular(path) as file:
            cut_short = file.read(len(_ZIP)) == _ZIP and not zipfile.is_zipfile(file)
    except OSError as error:
        raise CheckpointError(f"{shown(str(path))} cannot be read: {error.strerror or error}") from error
    if cut_short:
        raise CheckpointError(f"{shown(str(path))} is cut short", "copy or download the file again")
