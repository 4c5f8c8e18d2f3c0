"""Make text from datasets, models and libraries safe to print: no control characters."""

from __future__ import annotations

import unicodedata

_CONTROL_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTION_CHANGES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """Return the text on one line, with its control characters spelled out (`\\x1b`).

    Characters without a width are kept: words and emojis in docs are joined by them.
    """
    return "".join(_spelled_out(char) if _is_control(char) else char for char in text)


def fully_printable(text: str) -> str:
    """Return the text with every character that cannot be seen spelled out, for messages and logs."""
    return "".join(char if char.isprintable() else _spelled_out(char) for char in text)


def blanked(text: str) -> str:
    """Return the text with a space in place of each character that cannot be printed."""
    return "".join(char if char.isprintable() else " " for char in text)


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in _CONTROL_CATEGORIES or char in _DIRECTION_CHANGES


def _spelled_out(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
