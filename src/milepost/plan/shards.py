"""Cut a task into shards: the unit of work and of storage, and the most that a kill can cost.

The id of a shard is a hash of its requests (token ids, targets, which sequences form a request, generation
settings). The same requests have the same id in every run; another prompt, tokenizer or context length gives
another id. Generated text also depends on the tokenizer, so the id of a shard with generation has the
tokenizer's id as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from milepost.plan.encode import EncodedTask
from milepost.types.generation import Generation
from milepost.types.sequences import Sequences

DEFAULT_SHARD_TOKENS = 262_144
"""Seconds on a GPU, a quarter of an hour for a 135M model on one CPU core. Smaller shards share less: MMLU
5-shot has 1,901,435 unique tokens in one piece, 1,942,689 in shards of this size, 2,031,322 in shards of
65,536."""

_TOKENIZER_MARK = "-t"

GENERATED_TOKEN_COST = 4
"""Cost of a generated token in tokens of a prompt: each generated token is a forward pass."""


@dataclass(frozen=True, slots=True)
class Generations:
    """Generation settings of a task's R requests."""

    settings: tuple[Generation, ...]
    of: npt.NDArray[np.int16]
    """[R] index into `settings`; -1 for a request that is scored, not continued."""

    @classmethod
    def of_requests(cls, generations: Iterable[Generation | None]) -> Generations:
        number_of: dict[Generation, int] = {}
        of = [
            -1 if generation is None else number_of.setdefault(generation, len(number_of))
            for generation in generations
        ]
        return cls(tuple(number_of), np.asarray(of, dtype=np.int16))

    def n_tokens(self) -> npt.NDArray[np.int64]:
        """Return [R] the most tokens that each request may generate."""
        most = [generation.max_new_tokens * generation.n_answers for generation in self.settings]
        return np.asarray([*most, 0], dtype=np.int64)[self.of]


@dataclass(frozen=True, slots=True)
class Shard:
    """Consecutive requests of one task, `first` to `last` (exclusive), and their sequences; whole docs."""

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
    """Cut a task into shards of about `shard_tokens` tokens, in the order of its docs; no shard is empty.

    A prefix shared with the sequence before (few-shot examples, a question) is not counted, because a shard
    computes it once. So shards cost about the same whatever the prompts are.

    Args:
        doc_ids: [R] the doc of each request; requests of one doc stay together.
        generations: generation settings, if the task generates text.
        tokenizer_id: id of the tokenizer; generated texts depend on it, log-likelihoods do not.
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
        texts = _generation_key(generations, first, last)
        shard_id = _shard_id(encoded, first, last, lo, hi, texts)
        if texts and tokenizer_id:
            shard_id = f"{shard_id}{_TOKENIZER_MARK}{tokenizer_id[:12]}"
        shards.append(Shard(shard_id, first, last, lo, hi))
    return tuple(shards)


def without_tokenizer(shard_id: str) -> str:
    """Return the part of a shard's id that does not depend on the tokenizer's id."""
    return shard_id.partition(_TOKENIZER_MARK)[0]


def shard_sequences(encoded: EncodedTask, shard: Shard) -> Sequences:
    """Return the sequences of a shard, as views of the task's arrays where possible."""
    sequences = encoded.sequences
    lo, hi = shard.first_sequence, shard.last_sequence
    start, end = sequences.starts[lo], sequences.starts[hi]
    return Sequences(
        tokens=sequences.tokens[start:end],
        starts=sequences.starts[lo : hi + 1] - start,
        n_targets=sequences.n_targets[lo:hi],
    )


def requests_of(encoded: EncodedTask, shard: Shard) -> npt.NDArray[np.int64]:
    """Return [n] the request of each sequence of the shard, counted from the shard's first request."""
    return (encoded.request_of[shard.first_sequence : shard.last_sequence] - shard.first).astype(np.int64)


def shard_work(encoded: EncodedTask, shard: Shard, generations: Generations) -> int:
    """Return the work of a shard in tokens: shared prefixes count once, generated tokens several times."""
    generated = int(generations.n_tokens()[shard.first : shard.last].sum())
    return int(_new_tokens(shard_sequences(encoded, shard)).sum()) + GENERATED_TOKEN_COST * generated


def _new_tokens(sequences: Sequences) -> npt.NDArray[np.int64]:
    """Return [N] tokens of each sequence after the prefix that it shares with the sequence before it."""
    bounds = sequences.starts.tolist()
    new = np.diff(sequences.starts)
    before = sequences.tokens[:0]
    for number, (start, end) in enumerate(pairwise(bounds)):
        tokens = sequences.tokens[start:end]
        length = min(len(before), len(tokens))
        differs = before[:length] != tokens[:length]
        new[number] -= int(differs.argmax()) if differs.any() else length
        before = tokens
    return new


def _generation_key(generations: Generations | None, first: int, last: int) -> str:
    """Return the generation settings of a shard as text; empty if it generates nothing."""
    if generations is None or (generations.of[first:last] < 0).all():
        return ""
    settings = [None if n < 0 else generations.settings[n].as_json() for n in generations.of[first:last]]
    return json.dumps(settings, sort_keys=True)


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
