"""Read, write and remove files of a results folder, on a disk or in a bucket; this is the only way to them.

On a disk nothing is read, written or removed through a link out of the folder (`confinement`). In place of a
file there may be a FIFO. A test forbids writing and removing by other means in the rooms that touch results.

A folder in a bucket (`s3://bucket/results`) has no links. Each function hands its paths to `bucket_files`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from milepost.buckets import in_bucket
from milepost.errors import ResultsError
from milepost.files.absolute import absolute_path
from milepost.store.bucket_files import Appended, files_of, forget_all
from milepost.store.confinement import HINT, check
from milepost.store.listing import walk
from milepost.text.language import Phrase

_LARGE = 100_000_000
"""Bytes; smaller files are not looked at for holes."""

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


def look_again() -> None:
    """Forget what is remembered of buckets, before looking for what other processes have done."""
    forget_all()


def bring(paths: Iterable[Path]) -> None:
    """Fetch files of a bucket that will be read, many at once; nothing has to be done for those on a disk."""
    paths = [path for path in paths if in_bucket(path)]
    if paths:
        files_of(paths[0])[0].bring([files_of(path)[1] for path in paths])


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        ResultsError: it leads out.
        OSError: it cannot be made.
    """
    check(path)
    if not in_bucket(path):  # where folders are only the beginnings of names
        path.mkdir(parents=True, exist_ok=True)


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        ResultsError: it leads out, is a FIFO or another special file, on which a read could hang, or a file
            of holes, which would fill the memory with zeros.
        OSError: it cannot be read; FileNotFoundError if it is not there.
    """
    check(path)
    if in_bucket(path):
        files, key = files_of(path)
        return files.read(key)
    handle = os.open(path, os.O_RDONLY | _NO_WAIT)
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise ResultsError("it is not a regular file", HINT)
        on_disk = getattr(state, "st_blocks", None)
        if on_disk is not None and state.st_size > _LARGE and on_disk * 512 < state.st_size // 100:
            raise ResultsError(
                Phrase("it is said to have {size:,} bytes, nearly all of them holes", size=state.st_size),
                HINT,
            )
        return file.read()


def create(path: Path) -> int:
    """Open a new file for writing; returns its descriptor.

    Raises:
        ResultsError: its folder leads out.
        OSError: it cannot be made; FileExistsError if there is something of that name, be it a link.
    """
    check(path.parent)
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_FOLLOW, 0o666)


def create_with(path: Path, data: bytes) -> None:
    """Write a new file; of several processes that do this at once one succeeds.

    Raises:
        ResultsError: its folder leads out.
        OSError: it cannot be written; FileExistsError if there is something of that name.
    """
    if in_bucket(path):
        files, key = files_of(path)
        files.create(key, data)
        return
    handle = None
    try:
        handle = create(path)
        os.write(handle, data)
    except BaseException as error:
        # An interrupt may come when the file is made and `handle` not yet set. An empty file is then taken
        # for it; at worst it is another process's, made a moment ago, and work is done twice.
        if handle is not None or (not isinstance(error, Exception) and _is_empty(path)):
            remove(path)
        raise
    finally:
        if handle is not None:
            os.close(handle)


def _is_empty(path: Path) -> bool:
    try:
        return path.lstat().st_size == 0
    except OSError:
        return False


def write(path: Path, data: bytes) -> None:
    """Write an object of a bucket, in the place of an earlier one. (On a disk: `atomic_files`.)"""
    check(path)
    files, key = files_of(path)
    files.write(key, data)


def append(path: Path) -> BinaryIO:
    """Open a file to write at its end, a new one if there is none; in a bucket it is written when closed.

    Raises:
        ResultsError: it leads out, or is not a regular file.
        OSError: it cannot be opened.
    """
    check(path)
    if in_bucket(path):
        return Appended(*files_of(path))
    make_folder(path.parent)
    if path.exists() and not path.is_file():
        raise ResultsError(Phrase("{path} is not a regular file", path=path), HINT)
    if path.exists() and path.stat().st_nlink > 1:
        _own_copy(path)
    return path.open("ab")


def _own_copy(path: Path) -> None:
    """Put a copy of a file in its place: its other names may be of files outside."""
    number, name = tempfile.mkstemp(prefix=".milepost-", dir=absolute_path(path.parent))
    with os.fdopen(number, "wb") as copy, path.open("rb") as original:
        shutil.copyfileobj(original, copy)
    replace(Path(name), path)


def replace(temporary: Path, path: Path) -> None:
    """Put a finished file in the place of `path`; a link there is replaced, not followed.

    Raises:
        ResultsError: the folder leads out.
        OSError: it cannot be done.
    """
    check(path.parent)
    os.replace(temporary, path)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk.

    Raises:
        OSError: it cannot be done.
    """
    if in_bucket(folder):
        return
    if os.name == "nt":
        return  # Windows has no handle for a folder to sync
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def touch(path: Path) -> None:
    """Set the time of a file to now, by the clock of the file system; make it if there is none.

    Raises:
        ResultsError: it leads out.
        OSError: it cannot be done.
    """
    check(path)
    if in_bucket(path):
        files, key = files_of(path)
        files.write(key, files.read(key) if files.look(key) else b"")
        return
    path.touch()


def remove(path: Path) -> None:
    """Remove a file, or a link itself; nothing if there is none.

    Raises:
        ResultsError: its folder leads out.
        OSError: it cannot be removed.
    """
    check(path.parent)
    if in_bucket(path):
        files, key = files_of(path)
        files.remove(key)
        return
    path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it; links in it are removed, not followed.

    Raises:
        ResultsError: it leads out.
        OSError: it cannot be removed.
    """
    check(path)
    if in_bucket(path):
        for one in walk(path):
            remove(one)
        return
    shutil.rmtree(path)


def remove_empty_folder(path: Path) -> None:
    """Remove a folder on a disk; one that something is in, or that is gone, is left as it is.

    Raises:
        ResultsError: it leads out.
    """
    check(path)
    if not in_bucket(path):
        with contextlib.suppress(OSError):
            path.rmdir()
