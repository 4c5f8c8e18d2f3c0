"""Cutting a task into shards: the unit of work, of storage and of what a kill can cost.

A shard is named by what it asks (token ids, targets, which sequences make a request, how texts are to be
generated), so the same questions
have the same name in every run and a changed prompt, tokenizer or context length has another. The text that
generated ids stand for depends on the tokenizer, which the name of a shard that asks for texts has too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from milepost.plan.encode import EncodedTask
from milepost.types import Generation, Sequences

DEFAULT_SHARD_TOKENS = 262_144
"""Seconds on a GPU, a quarter of an hour of a 135M model on one CPU core. Smaller shards share less: MMLU
5-shot has 1,901,435 unique tokens in one piece, 1,942,689 in shards of this size, 2,031,322 in shards of
65,536."""

_OF_TOKENIZER = "-t"

GENERATED_TOKEN_COST = 4
"""A token that is generated costs about as much as so many that are read: it is a forward pass of its own."""


@dataclass(frozen=True, slots=True)
class Generations:
    """Which of a task's R requests ask for a text, and how."""

    settings: tuple[Generation, ...]
    of: npt.NDArray[np.int16]
    """[R] index into `settings`; -1 for a request that is scored."""

    @classmethod
    def of_requests(cls, asked: Iterable[Generation | None]) -> Generations:
        number_of: dict[Generation, int] = {}
        of = [-1 if one is None else number_of.setdefault(one, len(number_of)) for one in asked]
        return cls(tuple(number_of), np.asarray(of, dtype=np.int16))

    def n_tokens(self) -> npt.NDArray[np.int64]:
        """[R] tokens that each request may ask for at most."""
        each = [one.max_new_tokens * one.n_answers for one in self.settings]
        return np.asarray([*each, 0], dtype=np.int64)[self.of]


@dataclass(frozen=True, slots=True)
class Shard:
    """Consecutive requests of one task, whole docs: `first` to `last` (exclusive), and their sequences."""

    shard_id: str
    first: int
    last: int
    first_sequence: int
    last_sequence: int


def cut_into_shards(
    encoded: EncodedTask,
    doc_ids: npt.NDArray[np.int64],
    shard_tokens: int = DEFAULT_SHARD_TOKENS,
    generations: Generations | None = None,
    tokenizer_id: str = "",
) -> tuple[Shard, ...]:
    """Shards of about `shard_tokens` tokens, in the order of the task's docs; none is empty.

    What a sequence shares with the one before it (a few-shot prefix, a question) is not counted again, for a
    shard computes it once; so a shard costs about the same whatever the prompts are.

    Args:
        doc_ids: [R] the doc of each request; requests of one doc stay together.
        generations: how texts are to be generated, where the task asks for any.
        tokenizer_id: of the tokenizer, which a generated text depends on and a log-likelihood does not.
    """
    new_tokens = _new_tokens(encoded.sequences)
    request_tokens = np.bincount(encoded.request_of, weights=new_tokens, minlength=encoded.n_requests)
    if generations is not None:
        request_tokens += GENERATED_TOKEN_COST * generations.n_tokens()
    doc_starts = np.flatnonzero(np.diff(doc_ids, prepend=doc_ids[0] - 1))
    before_doc = np.concatenate([[0], np.cumsum(request_tokens)])[doc_starts]
    number = (before_doc // shard_tokens).astype(np.int64)
    firsts = doc_starts[np.flatnonzero(np.diff(number, prepend=-1))]
    lasts = np.append(firsts[1:], encoded.n_requests)
    shards = []
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        lo, hi = np.searchsorted(encoded.request_of, [first, last]).tolist()
        texts = _texts_asked(generations, first, last)
        shard_id = _shard_id(encoded, first, last, lo, hi, texts)
        if texts and tokenizer_id:
            shard_id = f"{shard_id}{_OF_TOKENIZER}{tokenizer_id[:12]}"
        shards.append(Shard(shard_id, first, last, lo, hi))
    return tuple(shards)


def without_tokenizer(shard_id: str) -> str:
    """The part of a shard's name that says what is asked, whatever the tokenizer."""
    return shard_id.partition(_OF_TOKENIZER)[0]


def shard_sequences(encoded: EncodedTask, shard: Shard) -> Sequences:
    """The shard's own sequences, as views of the task's arrays where they can be."""
    sequences = encoded.sequences
    lo, hi = shard.first_sequence, shard.last_sequence
    start, end = sequences.starts[lo], sequences.starts[hi]
    return Sequences(
        tokens=sequences.tokens[start:end],
        starts=sequences.starts[lo : hi + 1] - start,
        n_targets=sequences.n_targets[lo:hi],
    )


def requests_of(encoded: EncodedTask, shard: Shard) -> npt.NDArray[np.int64]:
    """[n] the request of each of the shard's sequences, counted from the shard's first request."""
    return (encoded.request_of[shard.first_sequence : shard.last_sequence] - shard.first).astype(np.int64)


def _new_tokens(sequences: Sequences) -> npt.NDArray[np.int64]:
    """[N] tokens of each sequence behind what it begins with in common with the one before it."""
    bounds = sequences.starts.tolist()
    new = np.diff(sequences.starts)
    before = sequences.tokens[:0]
    for number, (start, end) in enumerate(pairwise(bounds)):
        own = sequences.tokens[start:end]
        length = min(len(before), len(own))
        differs = before[:length] != own[:length]
        new[number] -= int(differs.argmax()) if differs.any() else length
        before = own
    return new


def _texts_asked(generations: Generations | None, first: int, last: int) -> str:
    """What tells two shards apart that ask for other texts; empty where none are asked for."""
    if generations is None or (generations.of[first:last] < 0).all():
        return ""
    asked = [None if n < 0 else asdict(generations.settings[n]) for n in generations.of[first:last]]
    return json.dumps(asked, sort_keys=True)


def _shard_id(encoded: EncodedTask, first: int, last: int, lo: int, hi: int, texts: str) -> str:
    starts = encoded.sequences.starts[lo : hi + 1]
    digest = hashlib.sha256(b"milepost shard 1\0")
    for array in (
        encoded.sequences.tokens[starts[0] : starts[-1]].astype("<i4"),
        (starts - starts[0]).astype("<i8"),
        encoded.sequences.n_targets[lo:hi].astype("<i4"),
        (encoded.request_of[lo:hi] - first).astype("<i4"),
    ):
        digest.update(len(array).to_bytes(8, "little"))
        digest.update(array.tobytes())
    digest.update((last - first).to_bytes(8, "little"))
    digest.update(texts.encode())
    return digest.hexdigest()[:32]
