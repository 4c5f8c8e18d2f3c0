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
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.sources.names import shown

_BLOCK_BYTES = 1 << 22
_SETTLED_S = 2.0
"""A file changed this recently is hashed but not remembered: a further write may leave the same times."""


def sha256_of(path: Path, cache_dir: Path) -> str:
    """The file's SHA-256 in hex, from the memory under `cache_dir` or by reading it (about 1 GB/s).

    Raises:
        CheckpointError: the file cannot be read, or changes while it is.
    """
    try:
        before = _signature(path)
        note = cache_dir / "sha256" / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"
        known = _remembered(note, before)
        if known is not None:
            return known
        digest, after = _read(path)
    except OSError as error:
        raise CheckpointError(f"{shown(str(path))} cannot be read: {error.strerror}") from error
    if before != after:
        raise CheckpointError(
            f"{shown(str(path))} is being written to", "evaluate it once the training run has saved it"
        )
    if _is_settled(after):
        _remember(note, {"path": str(path), "signature": after, "sha256": digest})
    return digest


def _read(path: Path) -> tuple[str, list[int]]:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest(), _signature(path)


def _signature(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]


def _is_settled(signature: list[int]) -> bool:
    newest = max(signature[1], signature[2])
    return time.time_ns() - newest > _SETTLED_S * 1e9


def _remembered(note: Path, signature: list[int]) -> str | None:
    try:
        entry: Any = json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        return None  # not there, or cut short: read the file itself
    if not isinstance(entry, dict) or entry.get("signature") != signature:
        return None
    digest = entry.get("sha256")
    return digest if isinstance(digest, str) and len(digest) == 64 else None


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
