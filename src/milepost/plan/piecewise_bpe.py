"""Tokenise long prompts piece by piece, with the same token ids, so that shared text is encoded once.

A byte-level BPE tokenizer first cuts text into words by a regular expression and then encodes each word
separately. Text may therefore be cut before encoding where a word surely ends: the ids of the pieces, joined,
are the ids of the whole. Such a place is a single newline between a visible character and an ASCII letter.
Every expression listed here ends a match there, whatever the text further left or right: the newline is
white space of length one before a visible character, and no word goes from a newline into a letter. Few-shot
examples, questions and choices repeat as whole pieces, so each is encoded once.

Text for other tokenizers (SentencePiece, an unknown expression, a normaliser) is not cut. A few strings of
every batch are encoded both ways and compared.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Sequence
from typing import Any

from milepost.files import fastjson

CUT = re.compile(r"(?<=\S\n)(?=[A-Za-z])")

GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MOST_PIECES = 100_000
"""Pieces that `encoder_of` keeps."""
KNOWN_WORDS = frozenset({GPT2_WORDS, *(CL100K_WORDS % digits for digits in ("", "{1,2}", "{1,3}"))})
"""Word expressions of GPT-2 (also GPT-NeoX, OPT, OLMo, StarCoder), cl100k, Llama 3 and Qwen 2."""


def can_be_cut(backend: Any) -> bool:
    """Return whether `CUT` is safe for a `tokenizers.Tokenizer`, by the tokenizer's JSON description."""
    description = fastjson.loads(backend.to_str())
    if description["model"].get("type") != "BPE" or description["model"].get("dropout"):
        return False
    if description.get("normalizer") not in (None, {"type": "NFC"}):
        return False
    for token in description.get("added_tokens", []):
        if "\n" in token["content"] or token["lstrip"] or token["rstrip"] or token["single_word"]:
            return False
    return _words_are_known(description.get("pre_tokenizer"))


def _words_are_known(pre_tokenizer: dict[str, Any] | None) -> bool:
    if pre_tokenizer is None:
        return False
    steps = pre_tokenizer["pretokenizers"] if pre_tokenizer["type"] == "Sequence" else [pre_tokenizer]
    known = False
    for step in steps:
        if step["type"] == "ByteLevel":
            if step["add_prefix_space"]:
                return False
            known |= step["use_regex"]
        elif step["type"] == "Split":
            pattern = step["pattern"].get("Regex")
            if pattern not in KNOWN_WORDS or step["behavior"] != "Isolated" or step["invert"]:
                return False
            known = True
        elif step["type"] != "Digits":  # cuts words further and joins none
            return False
    return known


def encoder_of(tokenizer: Any) -> Callable[[str], list[int]] | None:
    """Return a function from one text to its token ids without special tokens, which encodes what texts share
    once; None where `CUT` is not safe for a transformers tokenizer."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not can_be_cut(backend):
        return None
    pieces = PieceEncoder(backend)

    def encode(text: str) -> list[int]:
        nonlocal pieces
        if pieces.n_kept > MOST_PIECES:
            pieces = PieceEncoder(backend)
        return pieces.encode([text])[0]

    return encode


class PieceEncoder:
    """Encodes strings like the backend, each distinct piece only once."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._ids: dict[str, list[int]] = {}

    @property
    def n_kept(self) -> int:
        """Number of pieces whose ids are kept."""
        return len(self._ids)

    def encode(self, strings: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each string, without special tokens; fast if neighbours share a prefix."""
        pieces_of = _split_all(strings)
        new = list(dict.fromkeys(p for _, pieces in pieces_of for p in pieces if p not in self._ids))
        encodings = self._backend.encode_batch_fast(new, add_special_tokens=False)
        self._ids.update(zip(new, (encoding.ids for encoding in encodings), strict=True))
        joined: list[list[int]] = []
        ends: list[int] = []
        ids: list[int] = []
        for n_shared, pieces in pieces_of:
            del ends[n_shared:]
            ids = ids[: ends[-1]] if ends else []
            for piece in pieces:
                ids += self._ids[piece]
                ends.append(len(ids))
            joined.append(ids)
        return joined


def _split_all(strings: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Return for each string the number of first pieces shared with the string before, and the rest."""
    split: list[tuple[int, list[str]]] = []
    before, ends = "", [0]
    for string in strings:
        # A cut depends on the two characters before it and the one after it.
        n_shared = bisect.bisect_left(ends, _common_length(before, string)) - 1
        n_shared = max(n_shared, 0)
        pieces = CUT.split(string[ends[n_shared] :])
        del ends[n_shared + 1 :]
        for piece in pieces:
            ends.append(ends[-1] + len(piece))
        split.append((n_shared, pieces))
        before = string
    return split


def _common_length(a: str, b: str) -> int:
    """Return the length of the common prefix of two strings; bisection, so that C code compares them."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
