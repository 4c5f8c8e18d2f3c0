"""Keys and values of the rows under way, each in a slot of its own, and of the prefix that all share.

KVCache are made once, as long as the longest row can get, so that no step copies what is there already.
Shapes: S slots, N key heads, C tokens of a slot, P of the prefix, D head size.
"""

from __future__ import annotations

import torch


class KVCache:
    """Memory of S rows; layers are made when their attention is first called."""

    def __init__(self, n_slots: int, capacity: int) -> None:
        self.n_slots = n_slots
        self.capacity = capacity
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.prefix: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        """By layer, keys and values [1, N, P, D] of what every prompt begins with; empty where they share
        nothing."""

    def layer(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys [S, N, D, C], as columns for `attend_few`, and values [S, N, C, D] of a layer.

        Their types are those of the new ones, `key` and `value` [1, N, T, D]. Zero where nothing was written:
        a mask cannot hide what is no number.
        """
        if layer not in self._layers:
            shape = self.n_slots, key.shape[1], key.shape[-1], self.capacity
            self._layers[layer] = (
                key.new_zeros(shape),
                value.new_zeros(*shape[:2], self.capacity, value.shape[-1]),
            )
        return self._layers[layer]

    def keep_prefix(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keys and values [1, N, P, D] of what all prompts begin with.

        They take the place of those before where they are as many: a recorded step reads them from there.
        """
        if layer in self.prefix and self.prefix[layer][0].shape == key.shape:
            for kept, new in zip(self.prefix[layer], (key, value), strict=True):
                kept.copy_(new)
        else:
            # Contiguous: this is read again at every step.
            self.prefix[layer] = key.contiguous(), value.contiguous()

    def write(self, layer: int, slot: int, start: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Tokens of one row, keys and values [N, L, D], from a place of its slot on."""
        keys, values = self._layers[layer]
        keys[slot, :, :, start : start + key.shape[1]] = key.transpose(1, 2)
        values[slot, :, start : start + value.shape[1]] = value

    def read(self, layer: int, slot: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The first tokens of a row: keys and values [N, L, D]."""
        keys, values = self._layers[layer]
        return keys[slot, :, :, :length].transpose(1, 2), values[slot, :, :length]

    def move(self, source: int, target: int, length: int) -> None:
        """The first `length` tokens of one slot into another."""
        for layer in self._layers:
            self.write(layer, target, 0, *self.read(layer, source, length))

    def clear_from(self, layer: int, slot: int, start: int) -> None:
        """Empty a slot from a place on."""
        keys, values = self._layers[layer]
        keys[slot, :, :, start:] = 0
        values[slot, :, start:] = 0

    def clear(self, slot: int) -> None:
        """Forget a slot whose values are no numbers."""
        for kept in self._layers.values():
            for tensor in kept:
                tensor[slot] = 0
