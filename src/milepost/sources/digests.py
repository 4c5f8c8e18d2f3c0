"""SHA-256 of local files, remembered so that an unchanged file is not read again.

A file counts as unchanged while path, size, modification and change time and inode are: the change time
cannot be set back by `touch` or `cp -p`, so a file overwritten in place is read anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.sources.names import shown
from milepost.sources.regular_files import open_regular

_BLOCK_BYTES = 1 << 22
SETTLED_S = 2.0
"""A file changed this recently is hashed but not remembered: a further write may leave the same times."""


def sha256_now(path: Path) -> str:
    """The file's SHA-256 in hex, read and not remembered.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        return _read(path)
    except OSError as error:
        raise CheckpointError(f"{shown(str(path))} cannot be read: {error.strerror}") from error


def sha256_of(
    path: Path,
    cache_dir: Path,
    *,
    judged_elsewhere: bool = False,
    hash_file: Callable[[Path], str] = sha256_now,
) -> str:
    """The file's SHA-256 in hex, from the memory under `cache_dir` or by reading it (about 1 GB/s).

    A file with the size and modification time of an earlier visit but another content was damaged, or put
    back with the times of another: it is refused, and stays so until it is restored or touched.

    Args:
        judged_elsewhere: the caller knows what the hash must be, so that the earlier visit does not matter.
        hash_file: reads a file that is not remembered; one that keeps what it reads spares a second reading.

    Raises:
        CheckpointError: the file cannot be read, changes while it is, or has changed behind its times.
    """
    name = shown(str(path))
    try:
        before = _signature(path)
        note = cache_dir / "sha256" / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"
        earlier = _remembered(note)
        if earlier is not None and earlier.signature == before:
            return earlier.sha256
        digest, after = hash_file(path), _signature(path)
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror}") from error
    if before != after:
        raise CheckpointError(f"{name} is being written to", "evaluate it once the training run has saved it")
    if earlier and not judged_elsewhere and earlier.has_times_of(after) and earlier.sha256 != digest:
        raise CheckpointError(
            f"{name} has another content than when it was last read, though the same size and time",
            "restore it if it is damaged; `touch` it if the change is meant",
        )
    if _is_settled(after):
        _remember(note, {"path": str(path), "signature": after, "sha256": digest})
    return digest


@dataclass(frozen=True, slots=True)
class _Visit:
    """What an earlier reading found."""

    signature: list[int]
    sha256: str

    def has_times_of(self, signature: list[int]) -> bool:
        """Whether size and modification time are the same."""
        return self.signature[:2] == signature[:2]


def check_read(path: Path, found: str, expected: str) -> None:
    """Refuse bytes that are not those which were identified: overwritten since, or another than remembered.

    Raises:
        CheckpointError: naming the file.
    """
    if found != expected:
        raise CheckpointError(
            f"{shown(str(path))} is damaged or was overwritten: what was read is not what was identified",
            "run again; if it is refused again, `touch` it (its hash is then computed anew) or restore it",
        )


def _read(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path, buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _signature(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]


def _is_settled(signature: list[int]) -> bool:
    newest = max(signature[1], signature[2])
    return time.time_ns() - newest > SETTLED_S * 1e9


def _remembered(note: Path) -> _Visit | None:
    try:
        entry: Any = json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        return None  # not there, or cut short: read the file itself
    if not isinstance(entry, dict) or not isinstance(entry.get("signature"), list):
        return None
    digest = entry.get("sha256")
    if not isinstance(digest, str) or len(digest) != 64:
        return None
    return _Visit(entry["signature"], digest)


def _remember(note: Path, entry: dict[str, Any]) -> None:
    """Write the note whole; a memory that cannot be written only costs time."""
    temporary = note.with_suffix(f".{os.getpid()}.tmp")
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(entry), "utf-8")
        temporary.replace(note)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
