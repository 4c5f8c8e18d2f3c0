"""Check the names of a user's tasks, groups and tags: a name becomes a file name, a table cell, a URL.

lm_eval's own 14,692 names are ASCII letters, digits and `_-.()`, at most 86 characters long, and no two
differ only in case.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from milepost.errors import TaskError
from milepost.text.language import Phrase

LONGEST = 128
"""Characters; below the 255 bytes of a file name, with room for what is added to it."""
ALLOWED_MARKS = "_-.()+:, "
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
"""Names of devices on Windows, with any extension."""


def check_name(name: Any, kind: str, where: str) -> str:
    """Return `name` if it is valid for a task, group or tag.

    Args:
        where: the file, for the message.

    Raises:
        TaskError: the name is not text, too long, or could be mistaken for a path, a formula or markup.
    """
    hint = (
        f"use letters, digits and _ - . ( ), at most {LONGEST} characters, beginning with a letter or digit"
    )
    if not isinstance(name, str):
        raise TaskError(
            Phrase(
                "{where}: the {kind} is named {name!r}, which is not text", where=where, kind=kind, name=name
            ),
            Phrase('put it in "quotes"; {hint}', hint=hint),
        )
    shown = repr(name) if len(name) <= LONGEST else f"{name[:40]!r}..."
    fault = _fault(name)
    if fault:
        raise TaskError(
            Phrase("{where}: {kind} {shown}: {fault}", where=where, kind=kind, shown=shown, fault=fault), hint
        )
    return name


def _fault(name: str) -> str | None:
    if not name:
        return "its name is empty"
    if len(name) > LONGEST or len(name.encode("utf-8", "replace")) > 2 * LONGEST:
        return f"its name has {len(name):,} characters, more than {LONGEST}"
    bad = next((char for char in name if not _is_allowed(char)), None)
    if bad is not None:
        return f"its name holds {bad!r} ({unicodedata.name(bad, f'U+{ord(bad):04X}')})"
    if not (name[0].isalnum() or name[0] in "_(") or name[-1] in ". ":
        return f"its name begins or ends with {(name[-1] if name[-1] in '. ' else name[0])!r}"
    if name.split(".")[0].casefold() in RESERVED:
        return "its name is that of a device on Windows"
    return None


def _is_allowed(char: str) -> bool:
    # Combining marks belong to letters in many scripts.
    return char.isalnum() or char in ALLOWED_MARKS or unicodedata.category(char) in ("Mn", "Mc")


def check_distinct(own: Iterable[str], others: Iterable[str], where: str) -> None:
    """Refuse names that are equal on disks that ignore case or rewrite accents.

    Raises:
        TaskError: two different names of `own`, or of `own` and `others`, are the same to such a disk.
    """
    known = {_folded(name): name for name in others}
    for name in own:
        other = known.setdefault(_folded(name), name)
        if other != name:
            raise TaskError(
                Phrase(
                    "{where}: {name!r} and {other!r} differ only in upper and lower case or in how an accent"
                    " is written, and would share files on many disks",
                    where=where,
                    name=name,
                    other=other,
                ),
                "rename one of them",
            )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
