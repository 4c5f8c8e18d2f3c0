"""Cache on disk of the files of commits, which never change."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from milepost.files.cache import cache_folder, write_cache_file


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a commit."""

    size: int
    sha256: str | None
    """As published, for files in large-file storage; None for small files kept in git."""
    git_sha1: str | None
    """Git's id of a file kept in git; None for files in large-file storage."""


def recall_listing(repo_id: str, commit: str) -> dict[str, HubFile] | None:
    """Return the cached listing of a commit (path to description), or None."""
    try:
        known: Any = json.loads(_note(repo_id, commit).read_bytes())
        return {str(path): HubFile(**file) for path, file in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # missing, cut short, or from another version


def remember_listing(repo_id: str, commit: str, files: dict[str, HubFile]) -> None:
    """Cache the listing of a commit; without a writable cache the Hub is asked again."""
    text = json.dumps({path: asdict(file) for path, file in files.items()})
    write_cache_file(_note(repo_id, commit), text.encode())


def _note(repo_id: str, commit: str) -> Path:
    name = hashlib.sha256(f"{repo_id}@{commit}".encode()).hexdigest()[:32]
    return cache_folder() / "listings" / f"{name}.json"
