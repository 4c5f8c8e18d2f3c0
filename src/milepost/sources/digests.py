"""SHA-256 of local files, cached so that an unchanged file is not read again.

A file is unchanged if path, size, modification time, change time and inode are the same. `touch` and `cp -p`
cannot set the change time back, so a file that was overwritten in place is read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.files.cache import write_cache_file
from milepost.sources.regular_files import open_regular
from milepost.sources.unreadable_files import unreadable
from milepost.text.language import Phrase
from milepost.text.messages import shown

_BLOCK_BYTES = 1 << 22
SETTLED_S = 2.0
"""A file changed less than this long ago is not cached: another write may leave the same times."""


def sha256_now(path: Path) -> str:
    """Return the SHA-256 of a file in hex; always reads the file.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        return _read(path)
    except OSError as error:
        raise unreadable(path, error) from error


def sha256_of(
    path: Path,
    cache_dir: Path,
    *,
    has_trusted_hash: bool = False,
    hash_file: Callable[[Path], str] = sha256_now,
) -> str:
    """Return the SHA-256 of a file in hex, from the cache in `cache_dir` or by reading it (about 1 GB/s).

    A file with the size and modification time of an earlier visit but other content was damaged, or got the
    times of another file. It is refused until it is restored or touched.

    Args:
        has_trusted_hash: the caller compares the result with a known hash, so that the earlier visit is not
            needed.
        hash_file: hashes a file that is not cached; it may keep the bytes for later use.

    Raises:
        CheckpointError: the file cannot be read, changes while it is read, or has other content but the same
            times.
    """
    name = shown(path)
    try:
        before = signature_of(path)
        note = cache_dir / "sha256" / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"
        earlier = _remembered(note)
        if earlier is not None and earlier.signature == before:
            return earlier.sha256
        digest, after = hash_file(path), signature_of(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if before != after:
        raise CheckpointError(
            Phrase("{name} is being written to", name=name), "evaluate it once the training run has saved it"
        )
    if earlier and not has_trusted_hash and earlier.has_times_of(after) and earlier.sha256 != digest:
        raise CheckpointError(
            Phrase(
                "{name} has other content than at the last reading, but the same size and time", name=name
            ),
            "restore it if it is damaged; `touch` it if the change is intended",
        )
    if _is_settled(after):
        entry = {"path": str(path), "signature": after, "sha256": digest}
        write_cache_file(note, json.dumps(entry).encode())
    return digest


@dataclass(frozen=True, slots=True)
class _Visit:
    """The result of an earlier reading."""

    signature: list[int]
    sha256: str

    def has_times_of(self, signature: list[int]) -> bool:
        """Return True if size and modification time are the same."""
        return self.signature[:2] == signature[:2]


def check_read(path: Path, found: str, expected: str) -> None:
    """Check that the SHA-256 of what was read is the one that was identified.

    Raises:
        CheckpointError: the file is damaged, or was overwritten in between.
    """
    if found != expected:
        raise CheckpointError(
            Phrase(
                "{path} is damaged or was overwritten: it is not the file that was identified",
                path=shown(path),
            ),
            "run again; if it is refused again, `touch` it (its hash is then computed again) or restore it",
        )


def _read(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path, buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def signature_of(path: Path) -> list[int]:
    """Return the values that change with a file: size, modification and change time, inode, device."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]


def _is_settled(signature: list[int]) -> bool:
    newest = max(signature[1], signature[2])
    return time.time_ns() - newest > SETTLED_S * 1e9


def _remembered(note: Path) -> _Visit | None:
    try:
        entry: Any = json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        return None  # missing, or cut short
    if not isinstance(entry, dict) or not isinstance(entry.get("signature"), list):
        return None
    digest = entry.get("sha256")
    if not isinstance(digest, str) or len(digest) != 64:
        return None
    return _Visit(entry["signature"], digest)
