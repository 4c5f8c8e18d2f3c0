"""Keys and values of the rows under way, each in a slot of its own, and of the prefix that all share.

Slots are made once, as long as the longest row can get, so that no step copies what is there already.
Shapes: S slots, N key heads, C tokens of a slot, P of the prefix, D head size.
"""

from __future__ import annotations

import torch


class Slots:
    """Memory of S rows; layers are made when their attention is first called."""

    def __init__(self, n_slots: int, capacity: int) -> None:
        self.n_slots = n_slots
        self.capacity = capacity
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.prefix: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        """By layer, keys and values [1, N, P, D] of what every prompt begins with; empty where they share
        nothing."""

    def layer(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values [S, N, C, D] of a layer whose new ones look like `key` and `value` [1, N, T, D].

        Zero where nothing was written: a mask cannot hide what is no number.
        """
        if layer not in self._layers:
            self._layers[layer] = self._empty_like(key), self._empty_like(value)
        return self._layers[layer]

    def _empty_like(self, new: torch.Tensor) -> torch.Tensor:
        return new.new_zeros(self.n_slots, new.shape[1], self.capacity, new.shape[-1])

    def move(self, source: int, target: int, length: int) -> None:
        """The first `length` tokens of one slot into another."""
        for kept in self._layers.values():
            for tensor in kept:
                tensor[target, :, :length] = tensor[source, :, :length]

    def clear(self, slot: int) -> None:
        """Forget a slot whose values are no numbers."""
        for kept in self._layers.values():
            for tensor in kept:
                tensor[slot] = 0
