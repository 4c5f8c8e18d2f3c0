"""The answers of a model to a shard's requests, as they are computed, stored and sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ShardAnswers:
    """The answers of a model to the R requests of a shard."""

    loglikelihood: npt.NDArray[np.float64]
    """[R] nats; NaN where the model gave no number, and where a text is generated."""
    greedy: npt.NDArray[np.bool_]
    """[R]"""
    generated: Sequence[Sequence[str] | None] | None = None
    """[R] the texts of each request; None where it was scored or the model gave no numbers. None in place of
    the list where the shard generates no text."""
    failed: Mapping[int, str] = field(default_factory=dict)
    """By request, counted from the shard's first: the exception that the model raised."""
