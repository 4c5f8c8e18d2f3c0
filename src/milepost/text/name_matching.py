"""Match names against shell patterns, and suggest close names for one that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from milepost.text.language import Phrase

_WILDCARDS = re.compile(r"[*?\[\]]+")


def is_pattern(text: str) -> bool:
    """Return whether the text has the wildcards of a shell pattern."""
    return bool(_WILDCARDS.search(text))


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name equals one of the patterns or matches it as a shell pattern (`mmlu_*`)."""
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def close_names(wanted: str, names: Iterable[str], n: int = 5, cutoff: float = 0.5) -> list[str]:
    """Return at most `n` names similar to `wanted` (a name or a pattern), the most similar first."""
    import difflib  # 10 ms, needed only when someone mistypes a name

    return difflib.get_close_matches(_WILDCARDS.sub("", wanted), list(dict.fromkeys(names)), n, cutoff)


def close_or_first(wanted: str, names: Iterable[str], n: int = 5, first: int = 8) -> list[str]:
    """Return the names similar to `wanted`, or the first few names if no name is similar."""
    known = list(dict.fromkeys(names))
    return close_names(wanted, known, n) or known[:first]


def did_you_mean(wanted: str, names: Iterable[str]) -> str | None:
    """Return `did you mean NAME?` with the most similar name; None if no name is similar."""
    close = close_names(wanted, names, n=1, cutoff=0.6)
    return Phrase("did you mean {names}?", names=close[0]) if close else None
