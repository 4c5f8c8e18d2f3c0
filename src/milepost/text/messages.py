"""Parts of error messages: names and texts from outside, safe to print."""

from __future__ import annotations

import re
from collections.abc import Iterable

from milepost.text.credentials import without_secrets
from milepost.text.language import Phrase
from milepost.text.safe_text import fully_printable

_TRACEBACK = re.compile(r'Traceback \(most recent call last\):|^\s*File ".+", line \d+, in ', re.MULTILINE)
"""The beginning of a traceback; some libraries leave out its first line."""


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


def first_line(error: BaseException | str) -> str:
    """Return the first line of an error for a message, or the error's kind if it has no text.

    A line that ends in a colon takes the next one with it.
    """
    lines = _lines(error)
    if not lines:
        return type(error).__name__
    return shown(" ".join(lines[:2]) if lines[0].endswith(":") else lines[0])


def one_line(error: object, most: int = 200) -> str:
    """Return all lines of an error as one for a message, cut after `most` characters."""
    text = shown(" ".join(" ".join(_lines(error)).split()) or type(error).__name__)
    return text if len(text) <= most else f"{text[:most]} …"


def _lines(error: object) -> list[str]:
    """Return the lines of an error's text that are not blank; of a traceback in it only the last line.

    Some libraries hand over the traceback of another process. Its other lines name their own files, and would
    take the room of the reason.
    """
    before, *traceback = _TRACEBACK.split(str(error), maxsplit=1)
    lines, frames = (
        [line.strip() for line in part.splitlines() if line.strip()] for part in (before, "".join(traceback))
    )
    return [*lines, *frames[-1:]]
