"""Detect a tokenizer that makes endless text of a short one, from its description.

A normalizer may replace each space by a thousand, several times: a prompt of a hundred characters then fills
the memory, inside a library that cannot be interrupted.
"""

from __future__ import annotations

import json
from typing import Any

from milepost.errors import TokenizerError

MOST_TIMES = 100
"""Characters that one character may become; Unicode's normal forms make up to 18."""
MOST_ADDED = 10_000
"""Characters put before each text."""
MOST_SPECIAL = 100
"""Tokens around each text."""
_HINT = "pass --tokenizer PATH with the tokenizer that the model was trained with"


def check_growth(tokenizer: Any, where: str) -> None:
    """Check that a fast tokenizer does not grow texts without limit.

    Raises:
        TokenizerError: it does; the message has `where`.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return
    if backend.normalizer is not None:
        times, added = growth(json.loads(backend.normalizer.__getstate__()))
        if times > MOST_TIMES or added > MOST_ADDED:
            raise TokenizerError(
                f"the normalizer of the tokenizer in {where} makes up to {times:,.0f} characters of one and"
                f" adds {added:,.0f} to each text",
                _HINT,
            )
    around = backend.num_special_tokens_to_add(False)
    if around > MOST_SPECIAL:
        raise TokenizerError(f"the tokenizer in {where} puts {around:,} tokens around each text", _HINT)


def growth(normalizer: dict[str, Any]) -> tuple[float, float]:
    """Return (a, b): Replace, Prepend and Append make at most about a n + b characters of n."""
    kind = normalizer.get("type")
    if kind == "Sequence":
        times, added = 1.0, 0.0
        for step in normalizer.get("normalizers", []):
            more_times, more_added = growth(step)
            times, added = times * more_times, added * more_times + more_added
            if times > 1e12:
                break
        return times, added
    if kind == "Replace":
        content, pattern = normalizer.get("content", ""), normalizer.get("pattern", {})
        length = len(pattern.get("String", "")) if isinstance(pattern, dict) else 0
        return max(1.0, len(content) / max(1, length)), 0.0
    if kind in ("Prepend", "Append"):
        return 1.0, float(len(normalizer.get("prepend") or normalizer.get("append") or ""))
    return 1.0, 0.0
