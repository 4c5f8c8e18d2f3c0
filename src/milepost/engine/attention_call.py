"""One call of a model's attention as a value, and the protocol of what can compute it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

KeysAndValues = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of one layer for the context of a pack; the layout is the runner's."""


class UnsupportedAttentionError(Exception):
    """The model asks its attention for something that the packed engine does not support."""


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """The arguments of one attention call.

    As transformers makes it: queries [1, H, T, D], keys and values [1, N, T, D], positions applied. A backend
    passes the same scale, window and softcap on with other tensors (`with_tensors`).
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    scale: float
    """Factor of the logits."""
    window: int | None = None
    """A row sees only keys less than this many positions before it (`sliding_window`); None for all."""
    softcap: float | None = None
    """Soft cap of the logits (gemma2)."""

    @property
    def groups(self) -> int:
        """Query heads per key head."""
        return self.query.shape[1] // self.key.shape[1]

    @property
    def fits_flash_kernel(self) -> bool:
        """True if torch's flash kernel for the CPU can compute the call."""
        same_size = self.query.shape[-1] == self.value.shape[-1]
        return self.query.device.type == "cpu" and self.softcap is None and same_size

    def with_tensors(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> AttentionCall:
        """Return the same call with other queries, keys and values."""
        return AttentionCall(query, key, value, self.scale, self.window, self.softcap)


class AttentionBackend(Protocol):
    """Attention among the tokens of one forward pass and those of its context."""

    def attend(self, layer: int, call: AttentionCall) -> torch.Tensor:
        """Return the output [1, T, H, D] of an attention layer; layers are numbered from 0."""
        ...


def check_layers(layers: Sequence[int], n_layers: int) -> None:
    """Check that a forward pass called the attention of every layer once.

    Raises:
        UnsupportedAttentionError: it did not.
    """
    if sorted(layers) != list(range(n_layers)):
        raise UnsupportedAttentionError(
            f"the model's attention was called {len(layers)} times for {n_layers} layers"
        )
