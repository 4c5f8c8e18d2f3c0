"""Bound the time of the regular expressions in a user's task: `(.*?,){30}x` takes years on some texts.

`re` cannot be interrupted, so lm_eval's filters and metrics get the `regex` package in its place, which reads
the same patterns and takes a time limit. lm_eval's own tasks keep `re`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lm_eval.api.metrics
import lm_eval.filters.extraction
import regex
from lm_eval.api.task import Task

MOST_S = 5.0
"""Seconds that a pattern may take on one text."""


@contextmanager
def bounded_regexes(task: Task) -> Iterator[None]:
    """Bound each use of a pattern while the block runs, if the user wrote the task.

    Raises:
        TimeoutError: from within the block; it names the pattern.
    """
    if not getattr(task, "is_own", False):
        yield
        return
    users: tuple[Any, ...] = (lm_eval.api.metrics, lm_eval.filters.extraction)
    for module in users:
        module.re = _Bounded
    try:
        yield
    finally:
        for module in users:
            module.re = re


class _Pattern:
    """A compiled pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._compiled = regex.compile(pattern)

    def findall(self, text: str) -> list[Any]:
        with _naming(self._pattern):
            found: list[Any] = self._compiled.findall(text, timeout=MOST_S)
        return found

    def sub(self, replacement: str, text: str) -> str:
        with _naming(self._pattern):
            return str(self._compiled.sub(replacement, text, timeout=MOST_S))


class _Bounded:
    """The functions of `re` that filters and metrics of lm_eval call."""

    escape = staticmethod(re.escape)
    compile = staticmethod(_Pattern)

    @staticmethod
    def findall(pattern: str, text: str) -> list[Any]:
        return _Pattern(pattern).findall(text)

    @staticmethod
    def sub(pattern: str, replacement: str, text: str) -> str:
        return _Pattern(pattern).sub(replacement, text)


@contextmanager
def _naming(pattern: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise TimeoutError(f"the pattern {pattern[:80]!r} takes more than {MOST_S:g} s on a text") from error
