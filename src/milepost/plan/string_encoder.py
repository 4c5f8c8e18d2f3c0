"""Encode strings as token ids: each distinct string once, all new strings of a task in one batch.

Where it is safe, strings are cut and their pieces encoded; see `piecewise_bpe`. Source of the rules for
special tokens: lm_eval/models/huggingface.py `tok_encode`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from milepost.errors import TokenizerError
from milepost.plan.piecewise_bpe import PieceEncoder, can_be_cut

Key = tuple[str, bool]
"""A string, and True if the tokenizer adds its special tokens to it."""

COMPARED = 4
"""Strings of each batch, the longest first, that are also encoded whole to check the pieces."""


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    bos_token_id: int | None
    eos_token_id: int | None

    def __call__(self, text: list[str], **kwargs: Any) -> Any: ...

    def decode(self, token_ids: int | Sequence[int]) -> str: ...


class StringEncoder:
    """Token ids by `Key`."""

    def __init__(self, tokenizer: Tokenizer, *, cut: bool = True) -> None:
        """Wrap a tokenizer; `cut=False` encodes every string whole, for comparison."""
        self._tokenizer = tokenizer
        self._ids: dict[Key, list[int]] = {}
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._prefix = bos if bos is not None else eos
        self._prefix_text = tokenizer.decode(self._prefix) if self._prefix is not None else None
        self._bos_text = tokenizer.decode(bos) if bos is not None else None
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._pieces = PieceEncoder(backend) if cut and backend is not None and can_be_cut(backend) else None
        self._around = self._special_tokens() if self._pieces is not None else ([], [])

    @property
    def cuts(self) -> bool:
        """True while strings are encoded piece by piece."""
        return self._pieces is not None

    @property
    def prefix(self) -> int:
        """The token in place of an empty context: BOS, else EOS.

        Raises:
            TokenizerError: the tokenizer has neither token.
        """
        if self._prefix is None:
            raise TokenizerError(
                "a request has no context and the tokenizer has neither a BOS nor an EOS token to start from",
                "pass --tokenizer PATH with a tokenizer that has one",
            )
        return self._prefix

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some tokens, for people; a character cut in two becomes U+FFFD."""
        return self._tokenizer.decode(ids)

    def usual(self, text: str) -> Key:
        """Return the key of a text: with special tokens, unless it already starts with the prefix token."""
        return text, not (self._prefix_text is not None and text.startswith(self._prefix_text))

    def prompt(self, text: str) -> Key:
        """Return the key of a prompt to continue; here lm_eval looks only for the BOS token."""
        return text, not (self._bos_text is not None and text.startswith(self._bos_text))

    def add(self, keys: Iterable[Key]) -> None:
        """Encode a batch; ids of earlier batches are dropped, those of pieces are kept."""
        wanted = list(dict.fromkeys(keys))
        self._ids = {}
        for special in (False, True):
            texts = [text for text, flag in wanted if flag is special]
            if texts:
                self._ids.update(
                    zip(((t, special) for t in texts), self._encode(texts, special), strict=True)
                )

    def __getitem__(self, key: Key) -> list[int]:
        return self._ids[key]

    def _encode(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        if self._pieces is None:
            return self._whole(texts, special)
        before, after = self._around if special else ([], [])
        encoded = [[*before, *ids, *after] for ids in self._pieces.encode(texts)]
        compared = sorted(range(len(texts)), key=lambda i: -len(texts[i]))[:COMPARED]
        if [encoded[i] for i in compared] != self._whole([texts[i] for i in compared], special):
            # The tokenizer does not behave as its description says; whole strings are always right.
            self._pieces = None
            return self._whole(texts, special)
        return encoded

    def _whole(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        encoded = self._tokenizer(
            list(texts), add_special_tokens=special, return_attention_mask=False, verbose=False
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """Return the special tokens that the tokenizer puts before and after a text."""
        (with_them,), (without,) = self._whole(["a"], True), self._whole(["a"], False)
        for start in range(len(with_them) - len(without) + 1):
            if with_them[start : start + len(without)] == without:
                return with_them[:start], with_them[start + len(without) :]
        self._pieces = None  # the tokenizer changes the text itself; see `_encode`
        return [], []
