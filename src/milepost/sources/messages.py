"""Parts of error messages: names and texts from outside, safe to print."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from milepost.errors import CheckpointError
from milepost.text.credentials import without_secrets
from milepost.text.language import Phrase
from milepost.text.safe_text import fully_printable


def shown(value: object) -> str:
    """Return a value as text for a message, a terminal or a log.

    Control characters, ANSI escapes and lone surrogates are spelled out, credentials left out.
    """
    return without_secrets(fully_printable(str(value)))


def listed(names: Iterable[str]) -> str:
    """Return `a, b, c` for a message."""
    return ", ".join(shown(name) for name in names)


def some(names: Iterable[str], n: int = 3) -> str:
    """Return `a, b, c and 12 more` for a message, in alphabetical order."""
    known = sorted(names)
    if len(known) <= n:
        return listed(known)
    return Phrase("{names} and {n} more", names=listed(known[:n]), n=len(known) - n)


def first_line(error: Exception | str) -> str:
    """Return the first line of an error for a message, or the error's kind if it has no text.

    A line that ends in a colon takes the next one with it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return shown(" ".join(lines[:2]) if lines[0].endswith(":") else lines[0])


def unreadable(path: Path, error: OSError) -> CheckpointError:
    """Return the error for a file of a checkpoint that the system cannot read."""
    return CheckpointError(
        Phrase("{path} cannot be read: {value}", path=shown(path), value=error.strerror or error)
    )
