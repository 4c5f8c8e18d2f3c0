"""Tell apart the settings in which one task was asked, by a short label where they differ."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping

from milepost.text.language import Phrase, joined
from milepost.types.metrics import Asked

MOST_CHARACTERS = 40
"""Characters of a label's part that spells out options."""


def variant_labels(groups: Iterable[Collection[Asked]]) -> dict[Asked, str]:
    """Return a label for each of the settings of one task.

    A label names what differs inside any of the groups: `5-shot`, `limit 100`, `bfloat16`. So two settings of
    one group never have the same label, and a task that every group has once has empty labels.
    """
    of_groups = [list(group) for group in groups]
    differing = [
        place
        for place in range(len(Asked._fields))
        if any(len({asked[place] for asked in group}) > 1 for group in of_groups)
    ]
    return {asked: _label(asked, differing) for group in of_groups for asked in group}


def settings_words(asked: Asked, *, dtype: str | None = None) -> str:
    """Return the settings in words: `5-shot, limit 100, float32`; what is not set is left out."""
    words = (
        "" if asked.num_fewshot is None else _shots(asked.num_fewshot),
        "" if asked.limit is None else _limit(asked.limit),
        asked.dtype or dtype or "",
        other_settings(asked),
    )
    return joined(", ", filter(None, words))


def other_settings(asked: Asked) -> str:
    """Return the settings that have no column of their own, in words."""
    return joined(", ", filter(None, (asked.others, _edition(asked.edition))))


def other_options(given: Mapping[str, object]) -> str:
    """Spell out options that are set: `apply_chat_template=true`."""
    return " ".join(
        f"{name}={_spelt(value)}" for name, value in given.items() if value not in (None, False, [], {})
    )


def _label(asked: Asked, differing: Collection[int]) -> str:
    words = (
        _shots(asked.num_fewshot),
        _limit(asked.limit),
        asked.dtype or "",
        _short(asked.others) or Phrase("no other options"),
        _edition(asked.edition),
    )
    return joined(" ", (word for place, word in enumerate(words) if place in differing and word))


def _shots(count: int | None) -> str:
    return Phrase("mixed-shot") if count is None else Phrase("{n}-shot", n=count)


def _limit(limit: float | None) -> str:
    return Phrase("no limit") if limit is None else Phrase("limit {limit:g}", limit=limit)


def _edition(edition: int) -> str:
    if edition < 2:
        return Phrase("earlier prompts") if edition else ""
    return Phrase("earlier prompts ({n} before)", n=edition)


def _short(text: str) -> str:
    """Return the text, cut where it is long; the end of a cut text is its hash, so that labels differ."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[: MOST_CHARACTERS - 8]}… {hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _spelt(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{_spelt(own)}" for name, own in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(_spelt, value))
    return "true" if value is True else str(value)
