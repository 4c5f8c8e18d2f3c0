"""The zeros in the weights of a checkpoint."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSparsity:
    """The zeros of one weight matrix."""

    name: str
    shape: tuple[int, ...]
    zeros: int
    """Weights that are exactly 0 (or -0)."""
    pattern: str
    """`dense`, `2:4` (at most 2 of 4 neighbours are not zero), `16x16 blocks`, `whole rows`, `whole columns`,
    `all zero` or `unstructured`. Neighbours are in a row of the matrix, or else in a column."""

    @property
    def n_weights(self) -> int:
        return math.prod(self.shape)

    @property
    def share(self) -> float:
        return self.zeros / self.n_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity:
    """The zeros of one checkpoint."""

    layers: tuple[LayerSparsity, ...]
    """The linear layers of the blocks, in the order of the files."""
    head: LayerSparsity | None
    """The LM head, if it is a separate matrix."""
    n_parameters: int
    """All weights of the checkpoint."""
    n_zeros: int
    """Weights that are exactly 0, anywhere."""
    bytes_on_disk: int
    """Size of the weight files."""

    @property
    def share(self) -> float:
        """Zeros over weights of all linear layers together; 0 without linear layers."""
        n_weights = sum(layer.n_weights for layer in self.layers)
        return sum(layer.zeros for layer in self.layers) / n_weights if n_weights else 0.0

    @property
    def patterns(self) -> dict[str, int]:
        """Pattern to the number of linear layers that have it, the most frequent first."""
        return dict(Counter(layer.pattern for layer in self.layers).most_common())
