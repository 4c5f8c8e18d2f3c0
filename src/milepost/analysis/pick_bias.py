"""How one-sided a model's picks are: what `PickCounts` say in shares and bits. Plain Python, for `show`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from milepost.types import PickCounts


@dataclass(frozen=True, slots=True)
class PickBias:
    """The picks of one task at one checkpoint as shares."""

    picked: tuple[float, ...]
    """By position: share of the docs whose pick stands there."""
    right: tuple[float, ...]
    """By position: share of the docs that have a right choice there."""
    entropy_bits: float
    """Of `picked`: 0 where the model always picks the same position, log2 of their number where it picks all
    alike. A model that knows the answers has that of `right`."""
    excess: float
    """Share of docs whose pick would have to stand elsewhere for the picks to be spread as the right answers
    are, 0 to 1: half the sum of the differences (total variation distance)."""
    by_length: tuple[float, ...]
    """By rank of length, the shortest first: share of the picks, of docs whose choices differ in length."""
    right_by_length: tuple[float, ...]
    """Likewise of the right answers, so what always picking the longest would score."""


def pick_bias(counts: PickCounts) -> PickBias:
    """What the counts say."""
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
    """Shannon's entropy of shares that add up to 1."""
    return abs(-sum(share * math.log2(share) for share in shares if share > 0))


def position_name(place: int) -> str:
    """A, B, C, ... as multiple choice is printed; a number beyond Z."""
    return chr(ord("A") + place) if place < 26 else str(place + 1)


def length_names(n: int) -> list[str]:
    """What the ranks of n choices by length are called."""
    between = ({2: "2nd", 3: "3rd"}.get(rank, f"{rank}th") for rank in range(2, n))
    return ["shortest", *between, "longest"]


def _shares(numbers: Sequence[float]) -> tuple[float, ...]:
    total = sum(numbers)
    return tuple(number / total if total else 0.0 for number in numbers)
