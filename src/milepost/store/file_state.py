"""Ask whether a file of a results folder is there, how large it is and when it was written."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from milepost.buckets import StoredObject, in_bucket
from milepost.errors import BucketError, ResultsError
from milepost.store import safe_paths as inside
from milepost.store.bucket_files import files_of
from milepost.store.confinement import leads_out

Version = tuple[str | int, ...]


class FileState(NamedTuple):
    """A file as it is at one moment."""

    size: int
    modified: float
    """When it was written, by the clock of its file system, in seconds since 1970."""


def exists(path: Path) -> bool:
    """Return whether there is a file; links are followed."""
    if in_bucket(path):
        files, key = files_of(path)
        return files.find(key) is not None
    return path.exists()


def is_file(path: Path) -> bool:
    """Return whether there is a regular file that does not lead out."""
    if in_bucket(path):
        return exists(path)
    return path.is_file() and not leads_out(path)


def folder_exists(path: Path) -> bool:
    """Return whether there is a folder; in a bucket, whether anything is in it."""
    if in_bucket(path):
        files, key = files_of(path)
        return any(files.list_folder(key))
    return path.is_dir()


def state_of(path: Path) -> FileState:
    """Return size and time of a file as they are now. Raises: FileNotFoundError if it is not there."""
    if in_bucket(path):
        files, key = files_of(path)
        found = _there(path, files.look(key))
        return FileState(found.size, found.modified)
    status = path.stat()
    return FileState(status.st_size, status.st_mtime_ns / 1e9)


def version_of(path: Path) -> Version:
    """Return a value that is another one when the file's content is. Raises: OSError if it is not there."""
    if in_bucket(path):
        found = _object_at(path)
        return found.version, found.size
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def size_of(path: Path) -> int:
    """Return the bytes of a file. Raises: FileNotFoundError if it is not there."""
    return _object_at(path).size if in_bucket(path) else path.stat().st_size


def clock(folder: Path) -> float:
    """Return the time by the file system's clock, in seconds since 1970; ours if nothing can be written.

    Times of files are compared with this one: another machine's clock, or our own, may be wrong by days.
    """
    probe = folder / f".clock-{os.getpid()}-{time.monotonic_ns()}"
    try:
        inside.create_with(probe, b"")
        now = state_of(probe).modified
        inside.remove(probe)
    except (OSError, ResultsError, BucketError):
        return time.time()
    return now


def _object_at(path: Path) -> StoredObject:
    """Return an object's description, as it was last seen. Raises: FileNotFoundError if it is not there."""
    files, key = files_of(path)
    return _there(path, files.find(key))


def _there(path: Path, found: StoredObject | None) -> StoredObject:
    if found is None:
        raise FileNotFoundError(str(path))
    return found
