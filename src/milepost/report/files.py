"""Write reports as files, complete or not at all, in the format of the name's ending."""

from __future__ import annotations

from pathlib import Path

from milepost.buckets import in_bucket
from milepost.errors import ResultsError
from milepost.store.atomic_files import write_atomically
from milepost.text.language import Phrase

CHART_SUFFIXES = (".png", ".svg", ".html")


def check_target(path: Path, suffixes: tuple[str, ...] = ()) -> None:
    """Refuse, before any work is done, a file that could not be written.

    Raises:
        ResultsError: its name ends in none of `suffixes`, it is a folder, or its folder does not exist.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        ending = Phrase("ends in `{suffix}`", suffix=path.suffix) if path.suffix else Phrase("has no ending")
        raise ResultsError(
            Phrase("{path} {ending}", path=path, ending=ending),
            Phrase("the name says the format: {names}", names=", ".join(suffixes)),
        )
    if in_bucket(path):
        return
    if path.is_dir():
        raise ResultsError(Phrase("{path} is a folder", path=path), "name a file in it")
    if not path.parent.is_dir():
        raise ResultsError(
            Phrase("{parent} is not a folder", parent=path.parent), "create it first, or choose another -o"
        )


def write_file(path: Path, data: bytes) -> None:
    """Write or replace a file in one step.

    Raises:
        ResultsError: it cannot be written; an older file of that name is then as it was.
    """
    check_target(path)
    try:
        write_atomically(path, data)
    except ResultsError as error:
        raise ResultsError(error.message, "free space, or choose another -o") from error
