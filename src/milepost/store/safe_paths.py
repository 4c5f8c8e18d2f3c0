"""Access files of a results folder, on a disk or in a bucket; this is the only way to them.

On a disk nothing is read, written or removed through a link out of the folder.

A folder received from a stranger may hold links to anywhere on this machine, a FIFO in place of a file, and
records whose entries are paths. A folder is confined when it is opened (`confine`); from then on every path
in it is resolved before use, and must still lie in it. The folder itself may be a link, or lie behind one. A
test forbids writing and removing by other means in the rooms that touch results.

A folder in a bucket (`s3://bucket/results`) has no links. Each function hands its paths to `bucket_files`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, NamedTuple

from milepost.buckets import as_path, in_bucket
from milepost.errors import BucketError, ResultsError
from milepost.store.bucket_files import Appended, files_of, forget_all

HINT = "`milepost verify RESULTS --repair` removes such links, and nothing behind them"

_LARGE = 100_000_000
"""Bytes; smaller files are not looked at for holes."""

REMEMBERED_S = 1.0
MOST_REMEMBERED = 10_000

_confined: set[str] = set()
"""Absolute paths of the confined folders."""
_looked_at: dict[Path, tuple[bool, float]] = {}
"""Folder to whether it leads out, and the time of the check."""

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


Version = tuple[str | int, ...]


class FileState(NamedTuple):
    """A file as it is at one moment."""

    size: int
    modified: float
    """When it was written, by the clock of its file system, in seconds since 1970."""


def confine(folder: Path) -> None:
    """Refuse, from now on, paths below `folder` that lead out of it."""
    _confined.add(str(absolute(folder)))
    _looked_at.clear()


def absolute(path: Path) -> Path:
    """Return the absolute path; links stay. An address of a bucket is absolute."""
    return as_path(path) if in_bucket(path) else Path(os.path.abspath(path))


def look_again() -> None:
    """Forget what is remembered of buckets, before looking for what other processes have done."""
    forget_all()


def bring(paths: Iterable[Path]) -> None:
    """Fetch files of a bucket that will be read, many at once; nothing has to be done for those on a disk."""
    paths = [path for path in paths if in_bucket(path)]
    if paths:
        files_of(paths[0])[0].bring([files_of(path)[1] for path in paths])


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
    if ".." in path.parts:
        raise ResultsError(f"{path} is not a place in a results folder", None)
    if leads_out(path):
        raise ResultsError(f"{_first_link(path)} is a link out of the results folder", HINT)


def _first_link(path: Path) -> Path:
    """Return the outermost part of the path that leads out."""
    return next((one for one in reversed((path, *path.parents)) if leads_out(one)), path)


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        ResultsError: it leads out.
        OSError: it cannot be made.
    """
    check(path)
    if not in_bucket(path):  # where folders are only the beginnings of names
        path.mkdir(parents=True, exist_ok=True)


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
    handle = create(path)
    try:
        os.write(handle, data)
    except OSError:
        remove(path)
        raise
    finally:
        os.close(handle)


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
        raise ResultsError(f"{path} is not a regular file", HINT)
    if path.exists() and path.stat().st_nlink > 1:
        _own_copy(path)
    return path.open("ab")


def _own_copy(path: Path) -> None:
    """Put a copy of a file in its place: its other names may be of files outside."""
    number, name = tempfile.mkstemp(prefix=".milepost-", dir=path.parent)
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
    with contextlib.suppress(OSError):
        path.rmdir()


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


def clock(folder: Path) -> float:
    """Return the time by the file system's clock, in seconds since 1970; ours if nothing can be written.

    Times of files are compared with this one: another machine's clock, or our own, may be wrong by days.
    """
    probe = folder / f".clock-{os.getpid()}-{time.monotonic_ns()}"
    try:
        create_with(probe, b"")
        now = state_of(probe).modified
        remove(probe)
    except (OSError, ResultsError, BucketError):
        return time.time()
    return now


def state_of(path: Path) -> FileState:
    """Return size and time of a file as they are now. Raises: FileNotFoundError if it is not there."""
    if in_bucket(path):
        files, key = files_of(path)
        found = files.look(key)
        if found is None:
            raise FileNotFoundError(str(path))
        return FileState(found.size, found.modified)
    status = path.stat()
    return FileState(status.st_size, status.st_mtime_ns / 1e9)


def version_of(path: Path) -> Version:
    """Return a value that is another one when the file's content is. Raises: OSError if it is not there."""
    if in_bucket(path):
        files, key = files_of(path)
        if (found := files.find(key)) is None:
            raise FileNotFoundError(str(path))
        return found.version, found.size
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def time_of(path: Path) -> float:
    """Return when a record was written, in seconds since 1970. Raises: OSError if it is not there."""
    if in_bucket(path):
        files, key = files_of(path)
        if (found := files.find(key)) is None:
            raise FileNotFoundError(str(path))
        return found.modified
    return path.stat().st_mtime


def size_of(path: Path) -> int:
    """Return the bytes of a file. Raises: FileNotFoundError if it is not there."""
    if in_bucket(path):
        files, key = files_of(path)
        if (found := files.find(key)) is None:
            raise FileNotFoundError(str(path))
        return found.size
    return path.stat().st_size


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
            raise ResultsError(f"it is said to have {state.st_size:,} bytes, nearly all of them holes", HINT)
        return file.read()


def is_file(path: Path) -> bool:
    """Return whether there is a regular file that does not lead out."""
    if in_bucket(path):
        return exists(path)
    return path.is_file() and not leads_out(path)


def exists(path: Path) -> bool:
    """Return whether there is a file; links are followed."""
    if in_bucket(path):
        found, key = files_of(path)
        return found.find(key) is not None
    return path.exists()


def folder_exists(path: Path) -> bool:
    """Return whether there is a folder; in a bucket, whether anything is in it."""
    if in_bucket(path):
        found, key = files_of(path)
        return any(found.list_folder(key))
    return path.is_dir()


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
