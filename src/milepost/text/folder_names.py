"""Name folders in few words: by the ends of their paths that tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath


def short_names(folders: Sequence[PurePath]) -> list[str]:
    """Return the last part of each path, or as many of the last parts as tell all of them apart."""
    for length in range(1, max((len(folder.parts) for folder in folders), default=0)):
        names = ["/".join(folder.parts[-length:]) for folder in folders]
        if len(set(names)) == len(set(folders)):
            return names
    return [str(folder) for folder in folders]
