"""Turn names of series, checkpoints and tasks into names of files."""

from __future__ import annotations

import hashlib
import re


def safe_name(name: str) -> str:
    """Return a series or checkpoint name as one path component: readable, not hidden, unique to the name.

    `org/name` becomes `org__name`, as lm_eval spells it; anything else that must change gets a hash as well.
    """
    plain = re.sub(r"[^\w.+=@-]+", "__", name.replace("/", "__")).strip("._")
    if plain and plain == name.replace("/", "__") and "__" not in name and len(plain.encode()) <= 200:
        return plain
    if len(plain.encode()) > 200:  # a file system has room for 255 bytes, and the ending needs some
        plain = plain.encode()[:150].decode("utf-8", "ignore")
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def file_part(name: str) -> str:
    """Return a name as part of a file's name: unchanged unless it could lead to another folder."""
    harmless = name.isprintable() and not re.search(r"[/\\:]", name) and len(name.encode()) <= 150
    return name if harmless and name.strip(". ") else safe_name(name)
