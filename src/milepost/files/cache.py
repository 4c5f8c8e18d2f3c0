"""The user's cache folder, shared by all runs (`MILEPOST_CACHE`, else XDG)."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

RECORDS_OF_BUCKETS, FILES_OF_BUCKETS = "objects", "buckets"
"""Folders in the cache with copies of what lies in buckets: records of results, and files of checkpoints."""
DAY_S = 86_400.0
KEPT_DAYS = 30
"""They are removed when they were not used for so long."""


def cache_folder() -> Path:
    """Return `$MILEPOST_CACHE`, `$XDG_CACHE_HOME/milepost` or `~/.cache/milepost`; does not create it."""
    if folder := os.environ.get("MILEPOST_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "milepost"


def write_cache_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; ignore errors (a read-only home only costs time)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def mark_used(path: Path) -> None:
    """Note that a copy in the cache is still used; at most once a day, by its time."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > DAY_S:
            os.utime(path)


def remove_unused(folder: Path) -> None:
    """Remove files of the cache that were not used for `KEPT_DAYS`; looks once a day and ignores errors."""
    looked = folder / ".looked-for-unused"
    now = time.time()
    with contextlib.suppress(OSError):
        if now - looked.stat().st_mtime < DAY_S:
            return
    for parent, folders, names in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            for path in (Path(parent, name) for name in names):
                if now - path.stat().st_mtime > KEPT_DAYS * DAY_S:
                    path.unlink()
        for name in folders:
            with contextlib.suppress(OSError):
                Path(parent, name).rmdir()  # only where nothing is left in it
    if folder.is_dir():
        write_cache_file(looked, b"")
