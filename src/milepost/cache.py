"""The user's cache folder: what can be made again, shared by all runs (`MILEPOST_CACHE`, else XDG)."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path


def cache_folder() -> Path:
    """`$MILEPOST_CACHE`, else `$XDG_CACHE_HOME/milepost`, else `~/.cache/milepost`; not created here."""
    if own := os.environ.get("MILEPOST_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "milepost"


def write_cache_file(path: Path, data: bytes) -> None:
    """Write whole or not at all; a cache that cannot be written (read-only home) only costs time."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
