"""Refuse paths that lead out of a results folder.

A folder received from a stranger may hold links to anywhere on this machine, and records whose entries are
paths. A folder is confined when it is opened (`confine`); from then on every path in it is resolved before
use, and must still lie in it. The folder itself may be a link, or lie behind one. A folder in a bucket has no
links.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from milepost.buckets import as_path, in_bucket
from milepost.errors import ResultsError
from milepost.files.absolute import absolute_path
from milepost.text.language import Phrase

HINT = "`milepost verify RESULTS --repair` removes such links, and nothing behind them"

REMEMBERED_S = 1.0
MOST_REMEMBERED = 10_000

_confined: set[str] = set()
"""Absolute paths of the confined folders."""
_given: set[str] = set()
"""Their paths as they were given, such as `../results`."""
_looked_at: dict[Path, tuple[bool, float]] = {}
"""Folder to whether it leads out, and the time of the check."""


def spelled(folder: Path) -> Path:
    """Return a results folder's path; `.` and `..` as absolute ones, after which a `..` of a record shows."""
    return absolute(folder) if set(folder.parts) <= {".."} else folder


def confine(folder: Path) -> None:
    """Refuse, from now on, paths below `folder` that lead out of it; in the folder's own path may be `..`."""
    _confined.add(str(absolute(folder)))
    _given.add(str(folder))
    _looked_at.clear()


def absolute(path: Path) -> Path:
    """Return the absolute path; an address of a bucket is absolute."""
    return as_path(path) if in_bucket(path) else absolute_path(path)


def confined_folder_of(path: Path) -> Path | None:
    """Return the innermost confined folder that `path` lies in; None if there is none."""
    here = absolute(path)
    return next((one for one in (here, *here.parents) if str(one) in _confined), None)


def leads_out(path: Path) -> bool:
    """Return whether `path` is in a confined folder by name, and outside once links are resolved."""
    if in_bucket(path):
        return False
    if not path.is_symlink():
        return _folder_leads_out(path if str(path) in _confined else path.parent)
    folder = confined_folder_of(path)
    return folder is not None and folder != path and _is_outside(path, folder)


def _folder_leads_out(folder: Path) -> bool:
    """Return `leads_out` of a folder; the answer is kept for a moment, as thousands of files need it."""
    now = time.monotonic()
    known = _looked_at.get(folder)
    if known is not None and now - known[1] < REMEMBERED_S:
        return known[0]
    home = confined_folder_of(folder)
    outside = home is not None and _is_outside(folder, home)
    if len(_looked_at) > MOST_REMEMBERED:
        _looked_at.clear()
    _looked_at[folder] = outside, now
    return outside


def _is_outside(path: Path, folder: Path) -> bool:
    home, resolved = os.path.realpath(folder), os.path.realpath(path)
    return resolved != home and not resolved.startswith(home.rstrip(os.sep) + os.sep)


def check(path: Path) -> None:
    """Refuse a path that leads out of its folder.

    Raises:
        ResultsError: it does; or its name alone does, by `..`.
    """
    if ".." in path.parts and _climbs(path):
        raise ResultsError(Phrase("{path} is not a place in a results folder", path=path), None)
    if leads_out(path):
        raise ResultsError(Phrase("{path} is a link out of the results folder", path=_first_link(path)), HINT)


def _climbs(path: Path) -> bool:
    """Return whether `..` leads up from within a results folder; elsewhere, as on the way there, it may."""
    for one in (path, *path.parents):
        if str(one) in _given or str(one) in _confined:
            return ".." in path.parts[len(one.parts) :]
    return False


def _first_link(path: Path) -> Path:
    """Return the outermost part of the path that leads out."""
    return next((one for one in reversed((path, *path.parents)) if leads_out(one)), path)
