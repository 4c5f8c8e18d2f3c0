"""What a checkpoint's name says: its step, its place in the order, the names like it. Strings only."""

from __future__ import annotations

import re
from collections.abc import Iterable

from milepost.credentials import without_secrets
from milepost.name_matching import close_or_first
from milepost.safe_text import fully_printable
from milepost.types import step_order

_STEP_WORD = re.compile(r"(?:step|iter|iteration|checkpoint|ckpt|chkpt)s?[-_=.]?([0-9]+)", re.IGNORECASE)
_INTEGER = re.compile(r"[0-9]+")
_MAX_DIGITS = 18
"""Longer runs of digits are hashes, not steps (and int() refuses the longest)."""


def step_in(name: str) -> int | None:
    """The step that a name tells: the integer after `step`, `iter` or `checkpoint`, else the last one.

    The word comes first because of names such as `step1000-tokens4B`.
    """
    numbers = _STEP_WORD.findall(name) or _INTEGER.findall(name)
    if not numbers or len(numbers[-1]) > _MAX_DIGITS:
        return None
    return int(numbers[-1])


def names_a_step(name: str) -> bool:
    """Whether a folder's name says by itself that it is one checkpoint of a run (`step-10`, `0010`).

    `pythia-160m` has an integer, but is the name of a model.
    """
    return bool(_STEP_WORD.search(name)) or name.isdecimal()


def nearest(wanted: str, names: Iterable[str]) -> list[str]:
    """Return at most five names similar to `wanted` (a name or a pattern), or else the first five by step."""
    known = sorted(set(names), key=lambda name: step_order(step_in(name), name))
    return close_or_first(wanted, known, n=5, first=5)


def shown(text: str) -> str:
    """The text as it may stand in a message, on a terminal and in a log.

    Control characters, ANSI escapes and lone surrogates are spelled out, credentials left out.
    """
    return without_secrets(fully_printable(text))


def listed(names: Iterable[str]) -> str:
    """`a, b, c` for a message."""
    return ", ".join(shown(name) for name in names)


def some(names: Iterable[str], n: int = 3) -> str:
    """`a, b, c and 12 more` for a message, in alphabetical order."""
    known = sorted(names)
    more = f" and {len(known) - n} more" if len(known) > n else ""
    return f"{listed(known[:n])}{more}"


def first_line(error: Exception | str) -> str:
    """The first line of what an error says, for a message; its kind where it says nothing.

    A line that ends in a colon takes the next one with it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return shown(" ".join(lines[:2]) if lines[0].endswith(":") else lines[0])
