"""The user's cache folder, shared by all runs (`MILEPOST_CACHE`, else XDG)."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path


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
