"""Writing a file so that it is there whole or not at all, even when the machine stops."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from milepost.errors import ResultsError


def write_atomically(path: Path, data: bytes) -> None:
    """Temporary file beside the target, fsync, rename, fsync of the folder.

    Raises:
        ResultsError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ResultsError(
            f"cannot write {path}: {error.strerror or error}",
            "free space or choose another --output-path; what is complete is kept, the same command goes on",
        ) from error


def write_json(path: Path, value: Any) -> None:
    """`value` as JSON, atomically; NaN is refused rather than written as something no reader accepts."""
    write_atomically(path, json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1).encode())


def read_json(path: Path) -> Any:
    """The JSON in `path`.

    Raises:
        ResultsError: it cannot be read or is damaged.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(
            f"cannot read {path}: {error}", "delete this file and run again to make it anew"
        ) from error


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
