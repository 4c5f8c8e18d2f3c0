"""Steps in checkpoint names, and names similar to one that was not found."""

from __future__ import annotations

import re
from collections.abc import Iterable

from milepost.text.name_matching import close_or_first
from milepost.types.checkpoints import step_order

_STEP_WORD = re.compile(r"(?:step|iter|iteration|checkpoint|ckpt|chkpt)s?[-_=.]?([0-9]+)", re.IGNORECASE)
_INTEGER = re.compile(r"[0-9]+")
_MAX_DIGITS = 18
"""Longer runs of digits are hashes, not steps (and int() refuses the longest)."""


def step_in(name: str) -> int | None:
    """Return the step in a name: the integer after `step`, `iter` or `checkpoint`, else the last integer.

    The word has priority because of names such as `step1000-tokens4B`.
    """
    numbers = _STEP_WORD.findall(name) or _INTEGER.findall(name)
    if not numbers or len(numbers[-1]) > _MAX_DIGITS:
        return None
    return int(numbers[-1])


def names_a_step(name: str) -> bool:
    """Return True if a folder's name alone shows that it is a checkpoint of a run (`step-10`, `0010`).

    `pythia-160m` has an integer, but is the name of a model.
    """
    return bool(_STEP_WORD.search(name)) or name.isdecimal()


def nearest(wanted: str, names: Iterable[str]) -> list[str]:
    """Return at most five names similar to `wanted` (a name or a pattern), or else the first five by step."""
    known = sorted(set(names), key=lambda name: step_order(step_in(name), name))
    return close_or_first(wanted, known, n=5, first=5)
