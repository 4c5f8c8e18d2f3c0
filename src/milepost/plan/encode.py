"""Encode the requests of a task as sequences of token ids, by lm_eval's rules.

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
from milepost.text.language import Phrase
from milepost.types.requests import Request
from milepost.types.sequences import Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedTask:
    """One task as token ids: R requests, N sequences.

    A long text scored whole has several sequences; a prompt to continue is a sequence without targets.
    """

    sequences: Sequences
    request_of: npt.NDArray[np.int32]
    """[N] the request of each sequence, ascending. A request's score is the sum over its sequences."""
    n_requests: int
    n_truncated: int
    """Requests cut from the left because they were longer than the model's context."""
    unscorable: tuple[str, ...] = ()
    """A line for each log-likelihood request that lm_eval itself cannot score. Such a request has no sequence
    and its score is NaN: its task gets no metrics, the other tasks get theirs."""

    @property
    def n_targets_of_requests(self) -> npt.NDArray[np.int64]:
        """[R] number of scored tokens of each request."""
        n_targets = self.sequences.n_targets
        return np.bincount(self.request_of, weights=n_targets, minlength=self.n_requests).astype(np.int64)


def encode(task: str, requests: Sequence[Request], encoder: StringEncoder, max_length: int) -> EncodedTask:
    """Encode every request of one task.

    Args:
        task: name of the task, for error messages.
        encoder: one encoder for all tasks, so that text shared by tasks is encoded once.
        max_length: context length of the model, in tokens.

    Raises:
        TaskError: the text to generate leaves no room for its prompt.
        TokenizerError: an empty context needs a BOS or EOS token and the tokenizer has neither.
    """
    keys_of = [_keys(request, encoder) for request in requests]
    encoder.add(chain.from_iterable(keys_of))
    tokens: list[list[int]] = []
    pairs: list[tuple[list[int], list[int]]]
    n_targets: list[int] = []
    request_of: list[int] = []
    n_truncated = 0
    unscorable: list[str] = []
    for number, (request, keys) in enumerate(zip(requests, keys_of, strict=True)):
        if request.generation is not None and request.generation.returns == "tokens":
            pairs = [(encoder[keys[0]], [])]  # its source has cut it already
        elif request.generation is not None:
            prompt, room = encoder[keys[0]] or [encoder.prefix], _room(task, request, max_length)
            n_truncated += len(prompt) > room
            pairs = [(prompt[-room:], [])]
        elif request.kind == "loglikelihood_rolling":
            pairs = list(_windows(encoder[keys[0]], encoder, max_length))
        else:
            pairs = [_pair(keys, encoder)]
            if fault := _fault(request, *pairs[0], max_length):
                unscorable.append(f"{task}, doc {request.doc_id}, request {request.index}: {fault}")
                continue
            n_truncated += len(pairs[0][0]) + len(pairs[0][1]) > max_length + 1
        for context, continuation in pairs:
            whole = context + continuation
            tokens.append(whole[-(max_length + 1) :] if continuation else whole)
            n_targets.append(len(continuation))
            request_of.append(number)
    return EncodedTask(
        sequences=as_sequences(tokens, n_targets),
        request_of=np.asarray(request_of, dtype=np.int32),
        n_requests=len(requests),
        n_truncated=n_truncated,
        unscorable=tuple(unscorable),
    )


def as_sequences(tokens: Sequence[Sequence[int]], n_targets: Sequence[int]) -> Sequences:
    """Convert lists of token ids, one per sequence, to the flat arrays that engines take."""
    lengths = np.fromiter((len(ids) for ids in tokens), dtype=np.int64, count=len(tokens))
    return Sequences(
        tokens=np.fromiter(chain.from_iterable(tokens), dtype=np.int32, count=int(lengths.sum())),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        n_targets=np.asarray(n_targets, dtype=np.int32),
    )


def _split(request: Request) -> tuple[str, str]:
    """Split context and continuation; trailing white space of the context goes to the continuation."""
    context = request.context.rstrip()
    return context, request.context[len(context) :] + request.continuation


def _keys(request: Request, encoder: StringEncoder) -> list[Key]:
    """Return the strings to encode for a request: the whole text, before it the context if there is one."""
    if request.generation is not None and request.generation.returns == "tokens":
        return [(request.context, True)]
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
    """Return why lm_eval could not score this request (the assertions of its `_loglikelihood_tokens`)."""
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
        return f"its continuation has {len(continuation)} tokens, but the model's context has {max_length}"
    return None


def _room(task: str, request: Request, max_length: int) -> int:
    """Return the most tokens of a prompt that leave room for the generated text in the model's context."""
    assert request.generation is not None
    n_new = request.generation.max_new_tokens
    if n_new >= max_length:
        raise TaskError(
            Phrase(
                "{task}: max_gen_toks is {n_new}, but the model's context has {max_length} tokens"
                " for prompt and text together",
                task=task,
                n_new=n_new,
                max_length=max_length,
            ),
            Phrase(
                "pass --gen-kwargs max_gen_toks=N with N below {max_length}, or leave this task out",
                max_length=max_length,
            ),
        )
    return max_length - n_new


def _windows(
    tokens: list[int], encoder: StringEncoder, max_length: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Cut a text into disjoint windows that predict each token once; the last has all possible context."""
    for start, first, end in rolling(len(tokens), max_length, prefix=True):
        yield ([encoder.prefix] if start < 0 else tokens[start:first]), tokens[first:end]
