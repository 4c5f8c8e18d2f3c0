"""Writing a file so that it is there whole or not at all, even when the machine stops."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from milepost.errors import ResultsError, StorageError
from milepost.store.processes import PROCESS_NAME, this_process
from milepost.store.seal import OPEN, is_sealed, seal

TEMPORARY = re.compile(rf"\..*\.(?P<process>{PROCESS_NAME.pattern})\.tmp")
"""Names of files under way, with the process that writes them."""

CHECKSUM = "checksum"
"""The entry of a JSON record that holds its checksum."""


def write_atomically(path: Path, data: bytes) -> None:
    """Temporary file beside the target, fsync, rename, fsync of the folder.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    with atomic_file(path) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which becomes `path` when the block ends; nothing is left of it if that fails.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{this_process()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        _remove_if_possible(temporary)
        raise cannot_write(path, error) from error
    except BaseException:
        _remove_if_possible(temporary)
        raise


def cannot_write(path: Path, error: OSError) -> StorageError:
    """What to tell a person whose disk is full, or whose folder may not be written."""
    return StorageError(
        f"cannot write {path}: {error.strerror or error}",
        "free space or choose another --output-path; what is complete is kept, the same command goes on",
    )


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """An object as JSON with its checksum, atomically; NaN is refused, as no reader accepts it."""
    sealed = {**value, CHECKSUM: OPEN.decode()}
    write_atomically(path, seal(json.dumps(sealed, ensure_ascii=False, allow_nan=False, indent=1).encode()))


def read_json(path: Path) -> Any:
    """The JSON in `path`, without its checksum.

    Raises:
        ResultsError: it cannot be read, or is damaged.
    """
    try:
        data = path.read_bytes()
        is_sealed(data)
        value = json.loads(data)
    except (OSError, ValueError, ResultsError) as error:
        raise damaged(path, error) from error
    if isinstance(value, dict):
        value.pop(CHECKSUM, None)
    return value


def is_intact(path: Path) -> bool:
    """Whether a JSON record is there and is what was written."""
    try:
        read_json(path)
    except ResultsError:
        return False
    return True


def damaged(path: Path, error: Exception) -> ResultsError:
    """What to tell a person about a record that cannot be used."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ResultsError(
        f"cannot read {path}: {reason}",
        "`milepost verify RESULTS --repair` removes what is damaged, the next run makes it anew",
    )


def _remove_if_possible(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # below a file, or read-only: then it was never made


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows has no handle for a folder to sync
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def safe_name(name: str) -> str:
    """A series or checkpoint name as one path component: readable, never hidden, never shared by two names.

    `org/name` becomes `org__name`, as lm_eval spells it; anything else that must change gets a hash as well.
    """
    plain = re.sub(r"[^\w.+=@-]+", "__", name.replace("/", "__")).strip("._")
    if plain == name.replace("/", "__") and "__" not in name:
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
