"""Make paths absolute."""

from __future__ import annotations

import os
from pathlib import Path


def absolute_path(path: Path) -> Path:
    """Return the absolute path, without `..`; links stay.

    Of a folder that is a link, `..` is where the link leads, as for the system; `os.path.abspath`, and
    `tempfile` since Python 3.12, take the folder in which the link lies.
    """
    if ".." in path.parts:
        cut = len(path.parts) - path.parts[::-1].index("..")
        path = Path(os.path.realpath(Path(*path.parts[:cut])), *path.parts[cut:])
    return Path(os.path.abspath(path))
