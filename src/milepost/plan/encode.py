"""Requests as strings to sequences of token ids, by lm_eval's rules.

Knows a tokenizer only as something that encodes strings. Each unique string is encoded once, all of them
in one batch. Sources, in lm_eval 0.4.13: api/model.py `TemplateLM._encode_pair` and `loglikelihood`;
models/huggingface.py `tok_encode`, `loglikelihood_rolling`, `_loglikelihood_tokens`; utils.py
`get_rolling_token_windows` and `make_disjoint_window`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from milepost.errors import TaskError, TokenizerError
from milepost.types import Request, Sequences

_Key = tuple[str, bool]
"""A string, and whether the tokenizer adds its special tokens to it."""


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer."""

    bos_token_id: int | None
    eos_token_id: int | None

    def __call__(self, text: list[str], **kwargs: Any) -> Any: ...

    def decode(self, token_ids: int) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedTask:
    """One task as token ids: R requests, N sequences (a long text to be scored whole has several)."""

    sequences: Sequences
    request_of: npt.NDArray[np.int32]
    """[N] the request each sequence belongs to, ascending; a request's score is the sum over its sequences."""
    n_requests: int
    n_truncated: int
    """Requests cut from the left because they were longer than the model's context."""


def encode(task: str, requests: Sequence[Request], tokenizer: Tokenizer, max_length: int) -> EncodedTask:
    """Token ids of every request of one task.

    Args:
        task: its name, for error messages.
        max_length: tokens the model can see at once.

    Raises:
        TaskError: a doc has an empty continuation, or one longer than the model's context.
        TokenizerError: an empty context needs a BOS or EOS token and the tokenizer has neither.
    """
    encoder = _Encoder(tokenizer)
    keys_of = [_keys(request, encoder) for request in requests]
    encoder.add(chain.from_iterable(keys_of))
    tokens: list[list[int]] = []
    n_targets: list[int] = []
    request_of: list[int] = []
    n_truncated = 0
    for number, (request, keys) in enumerate(zip(requests, keys_of, strict=True)):
        if request.kind == "loglikelihood_rolling":
            pairs = list(_windows(encoder[keys[0]], encoder, max_length))
        else:
            pairs = [_pair(task, request, keys, encoder, max_length)]
            n_truncated += len(pairs[0][0]) + len(pairs[0][1]) > max_length + 1
        for context, continuation in pairs:
            tokens.append((context + continuation)[-(max_length + 1) :])
            n_targets.append(len(continuation))
            request_of.append(number)
    lengths = np.fromiter((len(ids) for ids in tokens), dtype=np.int64, count=len(tokens))
    sequences = Sequences(
        tokens=np.fromiter(chain.from_iterable(tokens), dtype=np.int32, count=int(lengths.sum())),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        n_targets=np.asarray(n_targets, dtype=np.int32),
    )
    return EncodedTask(
        sequences=sequences,
        request_of=np.asarray(request_of, dtype=np.int32),
        n_requests=len(requests),
        n_truncated=n_truncated,
    )


class _Encoder:
    """Token ids by (string, whether the tokenizer's special tokens are wanted); each pair encoded once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: dict[_Key, list[int]] = {}
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._prefix = bos if bos is not None else eos
        self._prefix_text = tokenizer.decode(self._prefix) if self._prefix is not None else None

    @property
    def prefix(self) -> int:
        if self._prefix is None:
            raise TokenizerError(
                "a request has no context and the tokenizer has neither a BOS nor an EOS token to start from",
                "pass --tokenizer PATH with one that has",
            )
        return self._prefix

    def usual(self, text: str) -> _Key:
        """With the tokenizer's special tokens, unless the text already starts with the prefix token."""
        return text, not (self._prefix_text is not None and text.startswith(self._prefix_text))

    def add(self, keys: Iterable[_Key]) -> None:
        new = [key for key in dict.fromkeys(keys) if key not in self._ids]
        for special in (False, True):
            texts = [text for text, flag in new if flag is special]
            if texts:
                encoded = self._tokenizer(texts, add_special_tokens=special, return_attention_mask=False)
                for text, ids in zip(texts, encoded["input_ids"], strict=True):
                    self._ids[text, special] = ids

    def __getitem__(self, key: _Key) -> list[int]:
        return self._ids[key]


def _split(request: Request) -> tuple[str, str]:
    """All trailing white space of the context moves to the continuation."""
    context = request.context.rstrip()
    return context, request.context[len(context) :] + request.continuation


def _keys(request: Request, encoder: _Encoder) -> list[_Key]:
    """What must be encoded for a request: the whole text (and, for a pair, the context alone)."""
    if request.kind == "loglikelihood_rolling":
        return [encoder.usual(request.continuation)]
    context, continuation = _split(request)
    if not context:
        return [(continuation, False)]
    return [encoder.usual(context + continuation), encoder.usual(context)]


def _pair(
    task: str, request: Request, keys: list[_Key], encoder: _Encoder, max_length: int
) -> tuple[list[int], list[int]]:
    if len(keys) == 1:
        continuation = encoder[keys[0]]
        if continuation[:1] == [encoder.prefix]:
            context, continuation = continuation[:1], continuation[1:]
        else:
            context = [encoder.prefix]
    else:
        whole, context = encoder[keys[0]], encoder[keys[1]]
        continuation = whole[len(context) :]
    where = f"{task}, doc {request.doc_id}, request {request.index}"
    if not continuation:
        raise TaskError(
            f"{where}: the continuation {request.continuation!r} has no tokens of its own",
            "an answer must add text to its prompt; check the task's doc_to_target or doc_to_choice",
        )
    if len(continuation) > max_length:
        raise TaskError(
            f"{where}: the continuation is {len(continuation)} tokens, the model sees {max_length} at most",
            "leave this task out, or evaluate a model with a longer context",
        )
    return context, continuation


def _windows(tokens: list[int], encoder: _Encoder, max_length: int) -> Iterator[tuple[list[int], list[int]]]:
    """A text as disjoint windows: each token predicted once, the last window with all the context it can have."""
    if not tokens:
        return
    first = tokens[:max_length]
    yield [encoder.prefix], first
    predicted = len(first)
    while predicted < len(tokens):
        end = min(predicted + max_length, len(tokens))
        yield tokens[max(0, end - max_length - 1) : predicted], tokens[predicted:end]
        predicted = end
