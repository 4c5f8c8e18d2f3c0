"""Break messages at the width of a terminal: between words, never inside them.

Chinese has no spaces, so a line may end after any of its characters, though none begins with a full stop or a
comma. A command in backticks stays whole, so that it can be copied.
"""

from __future__ import annotations

import os
import re
from typing import TextIO

WIDE = "\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef"
"""Characters that take two cells, for the inside of a regular expression."""
_CLOSING = "，。；：、）】》”！？"
_PIECE = re.compile(rf" +|(?:`[^`]*`|[^ `{WIDE}])+[{_CLOSING}]*|[{WIDE}][{_CLOSING}]*|`")


def fitted(text: str, stream: TextIO) -> str:
    """Return the text with line breaks where it is wider than the terminal of a stream.

    Elsewhere, as in a pipe, a message stays one line, which programs can search.
    """
    width = _columns(stream)
    return text if width is None else "\n".join(broken_message(text, width))


def broken_message(text: str, width: int) -> list[str]:
    """Return lines of at most `width` cells; a piece that is wider has a line of its own."""
    if len(text) * 2 <= width:
        return [text]
    from rich.cells import cell_len

    lines, spaces = [""], ""
    for piece in _PIECE.findall(text):
        if not piece.strip(" "):
            spaces = piece
            continue
        if lines[-1].strip(" ") and cell_len(lines[-1] + spaces + piece) > width:
            lines.append(piece)
        else:
            lines[-1] += spaces + piece
        spaces = ""
    return lines


def padded(text: str, width: int) -> str:
    """Return the text with spaces after it, up to a width in cells."""
    from rich.cells import cell_len

    return text + " " * (width - cell_len(text))


def _columns(stream: TextIO) -> int | None:
    """Return the width of the terminal that a stream writes to; None where it is none."""
    try:
        if not stream.isatty():
            return None
        return int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None
