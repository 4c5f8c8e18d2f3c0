"""Name the damaged records that a page leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from milepost.report.blocks import Line
from milepost.report.table import Cell
from milepost.store.united_index import FolderIndex
from milepost.text.language import _
from milepost.text.safe_text import printable


def damage_lines(damaged: Mapping[str, str]) -> list[Line]:
    """Return a line per damaged record: its place, and the reason."""
    return [
        Line(
            (
                Cell(_("damaged and left out:"), "problem"),
                Cell(f" {printable(place)}: {printable(reason)}"),
            )
        )
        for place, reason in damaged.items()
    ]


def places(damaged: Mapping[Path, str], index: FolderIndex) -> dict[str, str]:
    """Return the records by their places in their results folders."""
    folders = [part.folder.path for part in index.parts]
    return {
        path.relative_to(folder).as_posix(): reason
        for path, reason in damaged.items()
        for folder in folders
        if path.is_relative_to(folder)
    }
