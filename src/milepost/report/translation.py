"""Show blocks in the reader's language: phrases, headings of columns, and words that are data as well."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from milepost.report.blocks import Block, Chart, Verdict
from milepost.report.table import Cell, Column
from milepost.text.language import ENGLISH, Phrase, for_reader, language, translated

_WORDS = (
    Phrase("worse"),
    Phrase("better"),
    Phrase("different"),
    Phrase("not distinguishable"),
    Phrase("too few docs to tell"),
    Phrase("watch"),
    Phrase("no steady trend"),
    Phrase("too noisy at this scale"),
    Phrase("at chance"),
    Phrase("too few checkpoints"),
    Phrase("too few docs"),
    Phrase("improved"),
    Phrase("no trend"),
    Phrase("got worse"),
    Phrase("one checkpoint"),
    Phrase("none"),
    Phrase("chance"),
    Phrase("constant"),
    Phrase("docs"),
)
"""Verdicts and rows of levels: JSON has them in English, so they are no phrases where they are made."""
_IS_WORD = frozenset(_WORDS)


def in_readers_language(blocks: Iterable[Block]) -> list[Block]:
    """Return the blocks with everything translated that the catalogue has; foreign names stay as they are."""
    if language() == ENGLISH:
        return list(blocks)
    return [_shown(block) for block in blocks]


def word(text: str) -> str:
    """Return a phrase or a verdict in the reader's language; any other text as it is."""
    return translated(text) if text in _IS_WORD else for_reader(text)


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return for_reader(value)
    if isinstance(value, tuple):
        return tuple(map(_shown, value))
    if isinstance(value, Column):
        return replace(value, heading=translated(value.heading or value.name))
    if isinstance(value, Cell | Verdict):
        return replace(value, text=word(value.text))
    if is_dataclass(value) and not isinstance(value, type):
        kept = {"spec"} if isinstance(value, Chart) else set()
        names = [one.name for one in fields(value) if one.name not in kept]
        return replace(value, **{name: _shown(getattr(value, name)) for name in names})
    return value
