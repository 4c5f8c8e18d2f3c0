"""The end of a text: exactly lm_eval's, but searched only after tokens that can complete a stop string.

lm_eval decodes the last tokens of every row after every step, once per stop string. If all tokens are whole
characters, only the last token can complete a stop string, and only few tokens of a vocabulary can do so:
these are found once per list of stop strings, and after all other tokens no search is needed. If a token is
part of a character, the text of the last tokens also changes at its beginning, as the window moves on: a
whole character is cut, or a cut one becomes whole. Then every step needs a search.
Source: lm_eval/models/utils_hf.py `MultiTokenEOSCriteria`; lm_eval/models/utils.py
`postprocess_generated_text` (0.4.13).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from milepost.types.generation import Generation

EXTRA_TOKENS = 2
"""lm_eval decodes so many tokens more than a stop string has."""
BATCH = 4096
BROKEN = "\ufffd"
"""The text of a token that is part of a character."""


class TextCodec(Protocol):
    """The part of a transformers tokenizer that generators use."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str: ...

    def batch_decode(self, sequences: Sequence[Sequence[int]]) -> list[str]: ...

    def __len__(self) -> int: ...


class Stops:
    """Finds the ends of texts of one `Generation`."""

    def __init__(self, codec: TextCodec, generation: Generation, *, incremental: bool = True) -> None:
        """`incremental` off searches every stop string after every token, for comparison."""
        self._codec = codec
        self._generation = generation
        self._stop_tokens = frozenset(generation.stop_tokens)
        self._looks_back = [
            (string, len(codec.encode(string, add_special_tokens=False)) + EXTRA_TOKENS)
            for string in generation.until
        ]
        incremental = incremental and bool(generation.until)
        self._may_end, self._parts = _may_complete(codec, generation.until) if incremental else (None, set())
        # One more than is decoded: the token that just left the window was part of its text before.
        self._n_recent = 1 + max((back for _, back in self._looks_back), default=0)

    def is_finished(self, tokens: Sequence[int]) -> bool:
        """Return whether the text of these tokens ends with the last of them."""
        last = tokens[-1]
        if last in self._stop_tokens or len(tokens) >= self._generation.max_new_tokens:
            return True
        if any(tuple(tokens[-len(ids) :]) == ids for ids in self._generation.stop_sequences):
            return True
        if (
            self._may_end is not None
            and last < len(self._may_end)
            and not self._may_end[last]
            and self._parts.isdisjoint(tokens[-self._n_recent :])
        ):
            return False
        return any(string in self._codec.decode(tokens[-back:]) for string, back in self._looks_back)

    def text(self, tokens: Sequence[int]) -> str:
        """Return an ended text without special tokens, up to the first stop string."""
        text = self._codec.decode(tokens, skip_special_tokens=True)
        for string in self._generation.until:
            text = text.split(string)[0]
        return text


def _may_complete(codec: TextCodec, strings: Iterable[str]) -> tuple[npt.NDArray[np.bool_] | None, set[int]]:
    """Return which tokens [V] can be the last of one of the strings, or None if that is not known, and the
    tokens that are not whole characters or that change the text before them."""
    parts: set[int] = set()
    if getattr(codec, "clean_up_tokenization_spaces", False):
        return None, parts
    tails = {string[-n:] for string in strings for n in range(1, len(string) + 1)}
    whole = tuple(strings)
    may = np.empty(len(codec), dtype=np.bool_)
    for token, own in _own_texts(codec):
        if own is None or BROKEN in own:
            parts.add(token)
        may[token] = (
            own is None
            or BROKEN in own
            or any(own[:n] in tails for n in range(1, len(own) + 1))
            or any(string in own for string in whole)
        )
    return may, parts


def _own_texts(codec: TextCodec) -> Iterator[tuple[int, str | None]]:
    """Yield each token and the text that it adds to another token's; None if it changes that text.

    Behind another token, since many tokenizers drop the space at the beginning of a text.
    """
    anchor = codec.encode("a", add_special_tokens=False)[-1:]
    before = codec.decode(anchor)
    for first in range(0, len(codec), BATCH):
        tokens = range(first, min(first + BATCH, len(codec)))
        for token, text in zip(
            tokens, codec.batch_decode([[*anchor, token] for token in tokens]), strict=True
        ):
            yield token, text.removeprefix(before) if text.startswith(before) else None
