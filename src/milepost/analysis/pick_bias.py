"""Measure how one-sided a model's picks are. Plain Python, for a fast `show`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from milepost.text.language import Phrase
from milepost.types.picks import PickCounts


@dataclass(frozen=True, slots=True)
class PickBias:
    """The picks of one task at one checkpoint as shares."""

    picked: tuple[float, ...]
    """By position: share of the docs whose pick is there."""
    right: tuple[float, ...]
    """By position: share of the docs with a right choice there."""
    entropy_bits: float
    """Entropy of `picked`: 0 if the model always picks the same position, log2 of their number if it picks
    all equally. A model that knows the answers has the entropy of `right`."""
    excess: float
    """Share of docs whose pick would have to move so that picks are distributed like right answers, 0 to 1:
    half the sum of the differences (total variation distance)."""
    by_length: tuple[float, ...]
    """By rank of length, the shortest first: share of the picks, over docs whose choices differ in length."""
    right_by_length: tuple[float, ...]
    """The same for right answers: the accuracy of always picking the shortest, ..., the longest."""


def pick_bias(counts: PickCounts) -> PickBias:
    """Convert counts of picks to shares."""
    picked, right = _shares(counts.picked), _shares(counts.right)
    return PickBias(
        picked=picked,
        right=tuple(number / counts.n for number in counts.right),
        entropy_bits=entropy_bits(picked),
        excess=sum(abs(ours - theirs) for ours, theirs in zip(picked, right, strict=True)) / 2,
        by_length=_shares(counts.picked_by_length),
        right_by_length=_shares(counts.right_by_length),
    )


def entropy_bits(shares: Sequence[float]) -> float:
    """Return Shannon's entropy of shares that add up to 1."""
    return abs(-sum(share * math.log2(share) for share in shares if share > 0))


def position_name(place: int) -> str:
    """Return A, B, C, ... as multiple choice is printed; a number after Z."""
    return chr(ord("A") + place) if place < 26 else str(place + 1)


def length_names(n: int) -> list[str]:
    """Return names for the ranks of n choices by length."""
    return [Phrase("shortest"), *map(_length_rank, range(2, n)), Phrase("longest")]


def _length_rank(rank: int) -> str:
    if rank == 2:
        return Phrase("2nd shortest")
    return Phrase("3rd shortest") if rank == 3 else Phrase("{n}th shortest", n=rank)


def _shares(numbers: Sequence[float]) -> tuple[float, ...]:
    total = sum(numbers)
    return tuple(number / total if total else 0.0 for number in numbers)
