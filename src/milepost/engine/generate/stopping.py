"""Where a text ends: exactly where lm_eval's would, looked for only where it can be.

lm_eval decodes the last tokens of every row after every step, once per stop string. A stop string can only
have been completed by the token that came last, and only few tokens of a vocabulary can complete one: those
are found once per list of stop strings, and all others need no look.
Source: lm_eval/models/utils_hf.py `MultiTokenEOSCriteria`; lm_eval/models/utils.py
`postprocess_generated_text` (0.4.13).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from milepost.types import Generation

EXTRA_TOKENS = 2
"""How many tokens more than a stop string has lm_eval looks back."""
BATCH = 4096
BROKEN = "\ufffd"
"""What part of a character decodes to."""


class TextCodec(Protocol):
    """What is used of a transformers tokenizer."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str: ...

    def batch_decode(self, sequences: Sequence[Sequence[int]]) -> list[str]: ...

    def __len__(self) -> int: ...


class Stops:
    """The end of texts of one `Generation`."""

    def __init__(self, codec: TextCodec, generation: Generation, *, incremental: bool = True) -> None:
        """`incremental` off looks for every stop string after every token, for comparison."""
        self._codec = codec
        self._generation = generation
        self._stop_tokens = frozenset(generation.stop_tokens)
        self._looks_back = [
            (string, len(codec.encode(string, add_special_tokens=False)) + EXTRA_TOKENS)
            for string in generation.until
        ]
        self._may_end = _may_complete(codec, generation.until) if incremental else None

    def ended(self, tokens: Sequence[int]) -> bool:
        """Whether the text that these tokens make has ended with the last of them."""
        last = tokens[-1]
        if last in self._stop_tokens or len(tokens) >= self._generation.max_new_tokens:
            return True
        if self._may_end is not None and last < len(self._may_end) and not self._may_end[last]:
            return False
        return any(string in self._codec.decode(tokens[-back:]) for string, back in self._looks_back)

    def text(self, tokens: Sequence[int]) -> str:
        """What is left of an ended text: without special tokens, up to the first stop string."""
        text = self._codec.decode(tokens, skip_special_tokens=True)
        for string in self._generation.until:
            text = text.split(string)[0]
        return text


def _may_complete(codec: TextCodec, strings: Iterable[str]) -> npt.NDArray[np.bool_] | None:
    """[V] whether a token can be the last of one of the strings; None where that cannot be told."""
    if getattr(codec, "clean_up_tokenization_spaces", False):
        return None
    tails = {string[-n:] for string in strings for n in range(1, len(string) + 1)}
    whole = tuple(strings)
    # Behind another token, since many tokenizers drop the space that a text begins with.
    anchor = codec.encode("a", add_special_tokens=False)[-1:]
    before = codec.decode(anchor)
    may = np.empty(len(codec), dtype=np.bool_)
    for first in range(0, len(may), BATCH):
        tokens = range(first, min(first + BATCH, len(may)))
        for token, text in zip(tokens, codec.batch_decode([[*anchor, one] for one in tokens]), strict=True):
            own = text.removeprefix(before)
            may[token] = (
                not text.startswith(before)
                or BROKEN in own
                or any(own[:n] in tails for n in range(1, len(own) + 1))
                or any(string in own for string in whole)
            )
    return may
