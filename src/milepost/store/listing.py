"""List the files and folders of a results folder, on a disk or in a bucket; none that leads out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from milepost.buckets import in_bucket
from milepost.store.bucket_files import files_of
from milepost.store.confinement import check


def files(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the visible files of a folder whose names match, sorted; empty without the folder.

    Raises:
        ResultsError: the folder or one of the files leads out.
    """
    if in_bucket(folder):
        check(folder)
        return [path for path in _objects(folder) if fnmatchcase(path.name, pattern)]
    return [path for path in _entries(folder) if fnmatchcase(path.name, pattern) and path.is_file()]


def folders(folder: Path) -> list[Path]:
    """Return the visible folders in a folder, sorted; empty without the folder.

    Raises:
        ResultsError: the folder or one of those in it leads out.
    """
    if in_bucket(folder):
        found, key = files_of(folder)
        return [folder / name for name in sorted(found.list_folder(key)[1]) if not name.startswith(".")]
    return [path for path in _entries(folder) if path.is_dir()]


def files_below(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the visible files in a folder and its folders, sorted by path. Raises as `files`."""
    if in_bucket(folder):
        return [
            path for path in walk(folder) if fnmatchcase(path.name, pattern) and _is_visible(path, folder)
        ]
    found = files(folder, pattern)
    for inner in folders(folder):
        found += files_below(inner, pattern)
    return sorted(found)


def names(folder: Path) -> list[str]:
    """Return the names of the files in a folder as they are now, also hidden ones.

    Raises:
        ResultsError: it leads out.
        OSError: there is no such folder; in a bucket it is an empty one.
    """
    check(folder)
    if in_bucket(folder):
        found, key = files_of(folder)
        return [one.key.rpartition("/")[2] for one in found.list_folder(key)[0]]
    return os.listdir(folder)


def walk(folder: Path) -> Iterator[Path]:
    """Yield every file in a folder and below, also hidden ones, and every link; links are not followed."""
    if in_bucket(folder):
        found, key = files_of(folder)
        cut = len(key) + 1 if key else 0
        yield from sorted(folder / one.key[cut:] for one in found.list_folder(key, recursive=True)[0])
        return
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            yield from walk(path)
        else:
            yield path


def _objects(folder: Path) -> list[Path]:
    return sorted(folder / name for name in names(folder) if not name.startswith("."))


def _is_visible(path: Path, folder: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _entries(folder: Path) -> list[Path]:
    check(folder)
    try:
        found = sorted(folder / name for name in os.listdir(folder) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    for path in found:
        if path.is_symlink():
            check(path)
    return found
