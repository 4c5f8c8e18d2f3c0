"""One-line reasons: why the model failed on a request, and why a faster engine is not used."""

from __future__ import annotations

from collections.abc import Iterable

from milepost.engine.memory import is_out_of_memory
from milepost.text.messages import one_line

OUT_OF_MEMORY_PAGE = "docs/out-of-memory.md"


def kind_and_text(error: BaseException, most: int = 200, text: str | None = None) -> str:
    """Return an exception's type and message (or `text`) as one printable line."""
    text = str(error) if text is None else text
    return f"{type(error).__name__}: {one_line(text, most)}" if text.strip() else type(error).__name__


def failure_reason(error: Exception) -> str:
    """Return in one line why the model failed on a single request."""
    if is_out_of_memory(error):
        return f"out of memory, although the request was alone in its forward pass; see {OUT_OF_MEMORY_PAGE}"
    return kind_and_text(error, 300)


def join_reasons(reasons: Iterable[str | None]) -> str | None:
    """Return the reasons in one line, or None if all of them are None."""
    return "; ".join(reason for reason in reasons if reason) or None
