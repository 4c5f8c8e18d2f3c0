"""Requests as strings to sequences of token ids, by lm_eval's rules.

Sources, in lm_eval 0.4.13: api/model.py `TemplateLM._encode_pair` and `loglikelihood`;
models/huggingface.py `tok_encode`, `loglikelihood_rolling`, `_loglikelihood_tokens`, `tok_batch_encode` and
`generate_until`; utils.py `get_rolling_token_windows` and `make_disjoint_window`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from milepost.errors import TaskError
from milepost.plan.string_encoder import Key, StringEncoder
from milepost.plan.windows import rolling
from milepost.types import Request, Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedTask:
    """One task as token ids: R requests, N sequences (a long text to be scored whole has several).

    A prompt that is to be continued is a sequence without targets.
    """

    sequences: Sequences
    request_of: npt.NDArray[np.int32]
    """[N] the request each sequence belongs to, ascending; a score is the sum over a request's sequences."""
    n_requests: int
    n_truncated: int
    """Requests cut from the left because they were longer than the model's context."""
    unaskable: tuple[str, ...] = ()
    """Why some requests of a log-likelihood have no sequence, one line each: lm_eval itself cannot ask them.
    They are answered with NaN, so that their task has no figures and the other tasks have theirs."""

    @property
    def n_targets_of_requests(self) -> npt.NDArray[np.int64]:
        """[R] tokens that are scored for each request."""
        n_targets = self.sequences.n_targets
        return np.bincount(self.request_of, weights=n_targets, minlength=self.n_requests).astype(np.int64)


def encode(task: str, requests: Sequence[Request], encoder: StringEncoder, max_length: int) -> EncodedTask:
    """Token ids of every request of one task.

    Args:
        task: its name, for error messages.
        encoder: made once for all tasks, so that what tasks share is encoded once.
        max_length: tokens the model can see at once.

    Raises:
        TaskError: a doc asks for a text that leaves no room for its prompt.
        TokenizerError: an empty context needs a BOS or EOS token and the tokenizer has neither.
    """
    keys_of = [_keys(request, encoder) for request in requests]
    encoder.add(chain.from_iterable(keys_of))
    tokens: list[list[int]] = []
    pairs: list[tuple[list[int], list[int]]]
    n_targets: list[int] = []
    request_of: list[int] = []
    n_truncated = 0
    unaskable: list[str] = []
    for number, (request, keys) in enumerate(zip(requests, keys_of, strict=True)):
        if request.generation is not None:
            prompt, room = encoder[keys[0]] or [encoder.prefix], _room(task, request, max_length)
            n_truncated += len(prompt) > room
            pairs = [(prompt[-room:], [])]
        elif request.kind == "loglikelihood_rolling":
            pairs = list(_windows(encoder[keys[0]], encoder, max_length))
        else:
            pairs = [_pair(keys, encoder)]
            if fault := _fault(request, *pairs[0], max_length):
                unaskable.append(f"{task}, doc {request.doc_id}, request {request.index}: {fault}")
                continue
            n_truncated += len(pairs[0][0]) + len(pairs[0][1]) > max_length + 1
        for context, continuation in pairs:
            tokens.append((context + continuation)[-(max_length + 1) :])
            n_targets.append(len(continuation))
            request_of.append(number)
    return EncodedTask(
        sequences=as_sequences(tokens, n_targets),
        request_of=np.asarray(request_of, dtype=np.int32),
        n_requests=len(requests),
        n_truncated=n_truncated,
        unaskable=tuple(unaskable),
    )


def as_sequences(tokens: Sequence[Sequence[int]], n_targets: Sequence[int]) -> Sequences:
    """Lists of token ids, one for each sequence, as the flat arrays that engines take."""
    lengths = np.fromiter((len(ids) for ids in tokens), dtype=np.int64, count=len(tokens))
    return Sequences(
        tokens=np.fromiter(chain.from_iterable(tokens), dtype=np.int32, count=int(lengths.sum())),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        n_targets=np.asarray(n_targets, dtype=np.int32),
    )


def _split(request: Request) -> tuple[str, str]:
    """All trailing white space of the context moves to the continuation."""
    context = request.context.rstrip()
    return context, request.context[len(context) :] + request.continuation


def _keys(request: Request, encoder: StringEncoder) -> list[Key]:
    """What must be encoded for a request: the whole text, for a pair after the context alone."""
    if request.generation is not None:
        return [encoder.prompt(request.context)]
    if request.kind == "loglikelihood_rolling":
        return [encoder.usual(request.continuation)]
    context, continuation = _split(request)
    if not context:
        return [(continuation, False)]
    return [encoder.usual(context), encoder.usual(context + continuation)]


def _pair(keys: list[Key], encoder: StringEncoder) -> tuple[list[int], list[int]]:
    if len(keys) == 1:
        continuation = encoder[keys[0]]
        if continuation[:1] == [encoder.prefix]:
            context, continuation = continuation[:1], continuation[1:]
        else:
            context = [encoder.prefix]
    else:
        context, whole = encoder[keys[0]], encoder[keys[1]]
        continuation = whole[len(context) :]
    return context, continuation


def _fault(request: Request, context: list[int], continuation: list[int], max_length: int) -> str | None:
    """Why lm_eval would stop at this request (the assertions of its `_loglikelihood_tokens`)."""
    if not request.continuation:
        return "its continuation is empty"
    if not continuation:
        return (
            f"the tokenizer joins its continuation {request.continuation[:60]!r} with the end of the prompt,"
            " so that no token is left to be scored"
        )
    if not context:
        return "its prompt has no token"
    if len(continuation) > max_length:
        return f"its continuation has {len(continuation)} tokens, and the model sees {max_length} at most"
    return None


def _room(task: str, request: Request, max_length: int) -> int:
    """Tokens that a prompt may have, so that prompt and text together fit into the model's context."""
    assert request.generation is not None
    wanted = request.generation.max_new_tokens
    if wanted >= max_length:
        raise TaskError(
            f"{task}: texts of up to {wanted} tokens are asked for (max_gen_toks); the model sees"
            f" {max_length} at most, prompt and text together",
            f"pass --gen-kwargs max_gen_toks=N with N below {max_length}, or leave this task out",
        )
    return max_length - wanted


def _windows(
    tokens: list[int], encoder: StringEncoder, max_length: int
) -> Iterator[tuple[list[int], list[int]]]:
    """A text as disjoint windows: each token predicted once, the last with all the context it can have."""
    for start, first, end in rolling(len(tokens), max_length, prefix=True):
        yield ([encoder.prefix] if start < 0 else tokens[start:first]), tokens[first:end]
