"""Make text safe to print: no control characters, and only characters that the terminal's encoding has."""

from __future__ import annotations

import codecs
import io
import unicodedata
from typing import TextIO

_CONTROL_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTION_CHANGES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """Return the text on one line, with its control characters spelled out (`\\x1b`).

    Characters without a width are kept: words and emojis in docs are joined by them. A text that is printable
    is returned itself, so that a phrase stays one.
    """
    if not any(map(_is_control, text)):
        return text
    return "".join(_spelled_out(char) if _is_control(char) else char for char in text)


def fully_printable(text: str) -> str:
    """Return the text with every character that cannot be seen spelled out, for messages and logs."""
    return "".join(char if char.isprintable() else _spelled_out(char) for char in text)


def blanked(text: str) -> str:
    """Return the text with a space in place of each character that cannot be printed."""
    return "".join(char if char.isprintable() else " " for char in text)


_SUBSTITUTES = str.maketrans(
    {"−": "-", "–": "-", "×": "x", "±": "+-", "→": "->", "↑": "^", "↓": "v", "·": ".", "…": "...", "─": "-"}
)
"""For encodings that lack them: GBK has no minus sign, ASCII none of these."""


def encode_safely(stream: TextIO) -> None:
    """Let a stream replace characters that its encoding lacks (GBK, ASCII), where it would raise an error."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=_substitute.__name__)


def _substitute(error: UnicodeError) -> tuple[str, int]:
    """Return the nearest text that every encoding has; the error handler of `encode_safely`."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    plain = unicodedata.normalize("NFKD", lacking.translate(_SUBSTITUTES))
    letters = (char for char in plain if not unicodedata.combining(char))
    return "".join(char if char.isascii() else "?" for char in letters), error.end


codecs.register_error(_substitute.__name__, _substitute)


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in _CONTROL_CATEGORIES or char in _DIRECTION_CHANGES


def _spelled_out(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
