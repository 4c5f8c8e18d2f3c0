"""The choices that a model picked, counted by position and by length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple


class PickCounts(NamedTuple):
    """The choices that a model picked, by position and by length, and the places of the right ones.

    Lengths are in bytes. The lists by length leave out docs whose choices all have one length, and docs with
    another number of choices than most; equal lengths share ranks.
    """

    n: int
    """Number of docs."""
    fixed: bool
    """True if every doc has the same choices (A to D): then a model can prefer a position."""
    picked: list[int]
    """By position: docs whose pick (highest log-likelihood) is there."""
    right: list[int]
    """By position: docs with a right choice there."""
    constant: list[float]
    """By position that most docs have: the accuracy of always answering with that position."""
    picked_by_length: list[float]
    """By rank of length, the shortest first: docs whose pick has that rank."""
    right_by_length: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """The `PickCounts` of a task (or group) at one checkpoint."""

    series: str
    checkpoint: str
    step: int | None
    task: str
    """As it was asked; see `Measurement.label`."""
    kind: Literal["task", "group"]
    counts: PickCounts
