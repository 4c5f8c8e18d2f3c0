"""Hash the Python code beside a user's task file, which may decide its metrics."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import lm_eval

MOST_FILES = 1000
LM_EVAL = Path(lm_eval.__file__).resolve().parent


@functools.lru_cache(maxsize=256)
def digest_of_code(task_file: str) -> str | None:
    """Return a hash of the Python files in a task file's folder and two levels below it.

    None if there are no such files, and for lm_eval's own tasks, whose code belongs to lm_eval's version.
    """
    folder = Path(task_file).parent
    if not Path(task_file).is_absolute() or LM_EVAL in folder.resolve().parents:
        return None
    digest = hashlib.sha256()
    found = sorted({path for pattern in ("*.py", "*/*.py", "*/*/*.py") for path in folder.glob(pattern)})
    for path in found[:MOST_FILES]:
        if path.is_file():
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16] if found else None
