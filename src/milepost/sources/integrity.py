"""Check from its beginning and end that a weight file is complete."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.sources.regular_files import open_regular
from milepost.sources.unreadable_files import unreadable
from milepost.text.language import Phrase
from milepost.text.messages import shown

_ZIP = b"PK\3\4"


def first_refusal(folder: Path, names: Iterable[str], check: Callable[[Path], Any]) -> str | None:
    """Return the message of `check` for the first file that it refuses, with paths relative to the folder."""
    for name in names:
        try:
            check(folder / name)
        except CheckpointError as error:
            return error.message.replace(shown(str(folder) + os.sep), "")
    return None


def check_zip(path: Path) -> None:
    """Check that a file of `torch.save` is not cut short, as it is while it is being written.

    torch writes a zip archive, whose directory comes last; before torch 1.6 it wrote a bare pickle.

    Raises:
        CheckpointError: the file is cut short or cannot be read.
    """
    try:
        with open_regular(path) as file:
            cut_short = file.read(len(_ZIP)) == _ZIP and not zipfile.is_zipfile(file)
    except OSError as error:
        raise unreadable(path, error) from error
    if cut_short:
        raise CheckpointError(
            Phrase("{path} is cut short", path=shown(path)), "copy or download the file again"
        )
