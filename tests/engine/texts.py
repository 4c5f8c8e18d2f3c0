"""A tokenizer of one character per token, and prompts for the tiny random models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from milepost.types.generation import Generation
from tests.engine.models import VOCAB

SPECIAL = (0, 1, 2)
CHARACTERS = ["<s>", "</s>", "<pad>", *(chr(code) for code in range(33, 33 + VOCAB - 3))]


class Characters:
    """The part of a transformers tokenizer that generators use."""

    def __len__(self) -> int:
        return VOCAB

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        if text in CHARACTERS:
            return [CHARACTERS.index(text)]
        return [CHARACTERS.index(character) for character in text]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        kept = (id for id in token_ids if not (skip_special_tokens and id in SPECIAL))
        return "".join(CHARACTERS[id] for id in kept)

    def batch_decode(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        return [self.decode(sequence) for sequence in sequences]


def prompts(seed: int = 0, n: int = 7, shared: int = 40) -> list[np.ndarray]:
    """Return prompts of different lengths; all share a prefix, some share more, two are equal."""
    random = np.random.default_rng(seed)

    def ids(length: int) -> np.ndarray:
        return random.integers(3, VOCAB, length).astype(np.int32)

    beginning = ids(shared)
    made = [np.concatenate([beginning, ids(int(random.integers(1, 60)))]) for _ in range(n - 3)]
    longer = np.concatenate([beginning, ids(30)])
    return [*made, np.concatenate([longer, ids(5)]), np.concatenate([longer, ids(17)]), made[0].copy()]


def asking(until: Sequence[str] = ("9", "F", "xy"), max_new_tokens: int = 12, **more: Any) -> Generation:
    """Return what is asked of the generators: half of the texts end with one of `until`."""
    return Generation(until=(*until, "</s>"), max_new_tokens=max_new_tokens, stop_tokens=(1,), **more)
