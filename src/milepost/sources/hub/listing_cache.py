"""What a commit holds, remembered on disk: it never changes, so it need not be asked for again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from milepost.cache import cache_folder, write_cache_file


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of one commit."""

    size: int
    sha256: str | None
    """As published for files in large-file storage; None for small files kept in git."""
    git_sha1: str | None
    """Git's own id of a file kept in it; None for files in large-file storage."""


def recall_listing(repo_id: str, commit: str) -> dict[str, HubFile] | None:
    """Path and description of every file of a commit as it was listed once; None where it was not."""
    try:
        known: Any = json.loads(_note(repo_id, commit).read_bytes())
        return {str(path): HubFile(**file) for path, file in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # not there, cut short, or of another version


def remember_listing(repo_id: str, commit: str, files: dict[str, HubFile]) -> None:
    """Keep a listing; where the cache cannot be written, it is asked for again."""
    text = json.dumps({path: asdict(file) for path, file in files.items()})
    write_cache_file(_note(repo_id, commit), text.encode())


def _note(repo_id: str, commit: str) -> Path:
    name = hashlib.sha256(f"{repo_id}@{commit}".encode()).hexdigest()[:32]
    return cache_folder() / "listings" / f"{name}.json"
