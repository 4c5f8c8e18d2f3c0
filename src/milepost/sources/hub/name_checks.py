"""Check names from a Hub, which become paths in the cache and must not leave their folder."""

from __future__ import annotations

import re

from milepost.errors import SourceError
from milepost.text.language import Phrase
from milepost.text.messages import shown

_HINT = "this mirror is not to be trusted"
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def check_path(path: str, where: str) -> str:
    """Return a path in a repository unchanged; raise a SourceError if it leaves the repository."""
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts) or set(path) & {"\\", "\0"} or ":" in parts[0]:
        raise SourceError(
            Phrase("{where} lists a path that leaves its folder: {path}", where=where, path=shown(path)),
            _HINT,
        )
    return path


def check_revision(name: str, where: str) -> str:
    """Return the name of a branch or tag unchanged; raise a SourceError if git would not allow it."""
    if name.startswith("/") or ".." in name or "//" in name or set(name) & {"\\", "\0"}:
        raise SourceError(
            Phrase("{where} lists a branch with an invalid name: {name}", where=where, name=shown(name)),
            _HINT,
        )
    return name


def check_commit(commit: str | None, where: str) -> str:
    """Return a full commit id unchanged; raise a SourceError for anything else."""
    if commit is None or not _COMMIT.fullmatch(commit):
        raise SourceError(
            Phrase("{where} names an invalid commit: {commit}", where=where, commit=shown(commit)), _HINT
        )
    return commit


def is_commit(text: str) -> bool:
    """Return True if a revision is a full commit id, which always means the same files."""
    return bool(_COMMIT.fullmatch(text))
