"""Write a file so that it is there whole or not at all, even when the machine stops."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from milepost.buckets import in_bucket
from milepost.errors import ResultsError, StorageError
from milepost.files import fastjson
from milepost.store import confinement
from milepost.store import safe_paths as inside
from milepost.store.checksum import OPEN, is_sealed, seal
from milepost.store.layout import KINDS_WITH_PLACES, STORE
from milepost.store.processes import PROCESS_NAME, this_process
from milepost.text.credentials import redacted
from milepost.text.language import Phrase
from milepost.text.messages import first_line

TEMPORARY = re.compile(rf"\..*\.(?P<process>{PROCESS_NAME.pattern})\.tmp")
"""Names of unfinished files, with the process that writes them."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a disk that may have room again later."""
CHECKSUM = "checksum"
"""The entry of a JSON record that holds its checksum."""
WHOSE = frozenset({"series", "checkpoint", "checkpoints", "model_id", "plan_id", "numerics", "process"})
"""Entries by which a record is found again; they are written unchanged."""
NAME = "record"
"""The entry that holds the record's own name."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a temporary file beside the target, sync it, rename it, and sync the folder.

    In a bucket an object is written at once.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    with atomic_file(path) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path, *, sync_folder: bool = True) -> Iterator[BinaryIO]:
    """Yield a file to write to, which becomes `path` when the block ends; a failure leaves nothing.

    Args:
        sync_folder: also sync the folder, so that the name is on the disk when this returns.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    if in_bucket(path):
        content = BytesIO()
        yield content
        inside.write(path, content.getvalue())
        return
    temporary = path.with_name(f".{path.name}.{this_process()}.tmp")
    try:
        inside.make_folder(path.parent)
        inside.remove(temporary)
        with os.fdopen(inside.create(temporary), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        inside.replace(temporary, path)
        if sync_folder:
            inside.sync_folder(path.parent)
    except OSError as error:
        _remove_if_possible(temporary)
        raise cannot_write(path, error) from error
    except BaseException:
        _remove_if_possible(temporary)
        raise


def write_together(files: Sequence[tuple[Path, bytes]]) -> None:
    """Write several files as `write_atomically` does; each folder is synced once.

    The files appear in their order.

    Raises:
        StorageError: the disk is full or a folder cannot be written; the files before that one stay.
    """
    folders: dict[Path, None] = {}
    try:
        for path, data in files:
            with atomic_file(path, sync_folder=False) as file:
                file.write(data)
            folders[path.parent] = None
    finally:
        for folder in folders:
            try:
                inside.sync_folder(folder)
            except OSError as error:
                raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> StorageError:
    """Return the error for a disk that is full, or a folder that may not be written."""
    return StorageError(
        Phrase("cannot write {path}: {reason}", path=path, reason=str(error.strerror or error)),
        "free space or choose another --output-path; what is complete is kept, the same command goes on",
        is_full=error.errno in FULL,
    )


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object as JSON with its name and checksum, atomically; NaN is refused."""
    write_atomically(path, _sealed(path, value))


def create_json(path: Path, value: Mapping[str, Any]) -> bool:
    """Write a record as `write_json` does, unless there is one; return whether it was written.

    If several processes do this at once, one succeeds.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    if in_bucket(path):
        return _create(path, _sealed(path, value))
    new = path.with_name(f".{path.name}.{this_process()}.new.{this_process()}.tmp")
    write_atomically(new, _sealed(path, value))
    try:
        confinement.check(path.parent)
        os.link(new, path)
        inside.sync_folder(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        _remove_if_possible(new)
    return True


def _create(path: Path, data: bytes) -> bool:
    try:
        inside.create_with(path, data)
    except FileExistsError:
        return False
    return True


def _sealed(path: Path, value: Mapping[str, Any]) -> bytes:
    if record_kind(path) in KINDS_WITH_PLACES:
        value = {key: entry if key in WHOSE else redacted(entry) for key, entry in value.items()}
    sealed = {**value, NAME: record_name(path), CHECKSUM: OPEN.decode()}
    return seal(json.dumps(sealed, ensure_ascii=False, allow_nan=False, indent=1).encode())


def read_json(path: Path) -> Any:
    """Return the JSON in `path`, without its checksum and name.

    Raises:
        ResultsError: it cannot be read, is damaged, or is another record than its place says.
    """
    try:
        data = inside.read_bytes(path)
        if not is_sealed(data):
            raise ResultsError("it has no checksum, or is cut short")
        value = fastjson.loads(data)
        if isinstance(value, dict):
            value.pop(CHECKSUM, None)
            check_name(path, value.pop(NAME, None))
    except (OSError, ValueError, ResultsError) as error:
        raise damaged(path, error) from error
    return value


def record_name(path: Path) -> str | None:
    """Return a record's place below `store/`, such as `scores/<model_id>/<numerics>/<shard_id>`; else None.

    The name says everything that a record depends on, and is kept inside the record too: a record that was
    moved to the place of another is refused, and one that is copied alone still says what it is.
    """
    folder = confinement.confined_folder_of(path)
    store = None if folder is None else folder / STORE
    absolute = confinement.absolute(path).with_suffix("")
    if store is None or not absolute.is_relative_to(store):
        return None
    return absolute.relative_to(store).as_posix()


def record_kind(path: Path) -> str | None:
    """Return the folder below `store/` that a record lies in."""
    name = record_name(path)
    return name and name.partition("/")[0]


def check_name(path: Path, said: str | None) -> None:
    """Refuse the record at `path` if its own name is another.

    Args:
        said: the name in the record; None where it has none.

    Raises:
        ResultsError: the names differ.
    """
    here = record_name(path)
    if said is not None and here is not None and said not in (here, _name_of_first_versions(here)):
        raise ResultsError(Phrase("it is the record {said}, in the place of another", said=said))


def _name_of_first_versions(name: str) -> str:
    """Return the first versions' name of a record: the part of its path after the last folder `store`."""
    return name.rpartition(f"{STORE}/")[2]


def is_intact(path: Path) -> bool:
    """Return whether a JSON record is there and undamaged."""
    try:
        read_json(path)
    except ResultsError:
        return False
    return True


def damaged(path: Path, error: Exception) -> ResultsError:
    """Return the error for a record that cannot be used."""
    reason = first_line(error)
    return ResultsError(
        Phrase("cannot read {path}: {reason}", path=path, reason=reason),
        "`milepost verify RESULTS --repair` removes what is damaged, the next run makes it anew",
    )


def _remove_if_possible(path: Path) -> None:
    try:
        inside.remove(path)
    except (OSError, ResultsError):
        return  # below a file, or read-only: then it was never made
