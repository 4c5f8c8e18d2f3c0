"""Cutting a task into shards: the unit of work, of storage and of what a kill can cost.

A shard is named by what it asks (token ids, targets, which sequences make a request), so the same questions
have the same name in every run and a changed prompt, tokenizer or context length has another.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from milepost.plan.encode import EncodedTask
from milepost.types import Sequences

DEFAULT_SHARD_TOKENS = 262_144


@dataclass(frozen=True, slots=True)
class Shard:
    """Consecutive requests of one task, whole docs: `first` to `last` (exclusive), and their sequences."""

    shard_id: str
    first: int
    last: int
    first_sequence: int
    last_sequence: int


def cut_into_shards(
    encoded: EncodedTask, doc_ids: npt.NDArray[np.int64], shard_tokens: int = DEFAULT_SHARD_TOKENS
) -> tuple[Shard, ...]:
    """Shards of about `shard_tokens` tokens (before sharing), in the order of the task's docs; none is empty.

    Args:
        doc_ids: [R] the doc of each request; requests of one doc stay together.
    """
    lengths = np.diff(encoded.sequences.starts)
    request_tokens = np.bincount(encoded.request_of, weights=lengths, minlength=encoded.n_requests)
    doc_starts = np.flatnonzero(np.diff(doc_ids, prepend=doc_ids[0] - 1))
    before_doc = np.concatenate([[0], np.cumsum(request_tokens)])[doc_starts]
    number = (before_doc // shard_tokens).astype(np.int64)
    firsts = doc_starts[np.flatnonzero(np.diff(number, prepend=-1))]
    lasts = np.append(firsts[1:], encoded.n_requests)
    shards = []
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        lo, hi = np.searchsorted(encoded.request_of, [first, last]).tolist()
        shards.append(Shard(_shard_id(encoded, first, last, lo, hi), first, last, lo, hi))
    return tuple(shards)


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


def _shard_id(encoded: EncodedTask, first: int, last: int, lo: int, hi: int) -> str:
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
    return digest.hexdigest()[:32]
