"""The KV cache: keys and values of the rows under way, one slot each, and of the prefix that all share.

Slots are made once, as long as the longest row can get, so that no step copies what is already there.
Shapes: S slots, N key heads, C tokens of a slot, P of the prefix, D head size.
"""

from __future__ import annotations

import torch

from milepost.engine.half_precision import HALVES


def cache_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the dtype of kept keys and values of a model with that dtype.

    On a CPU `attend_few` computes in float32. Half precision is widened when it is written, without loss, and
    not again in every step.
    """
    return torch.float32 if device.type == "cpu" and dtype in HALVES else dtype


class KVCache:
    """Keys and values of S rows; a layer's tensors are made when its attention is first called."""

    def __init__(self, n_slots: int, capacity: int) -> None:
        self.n_slots = n_slots
        self.capacity = capacity
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.prefix: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        """Keys and values [1, N, P, D] of the shared prefix, by layer; empty without a shared prefix."""

    def layer(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys [S, N, D, C], as columns for `attend_few`, and values [S, N, C, D] of a layer.

        Heads, sizes and device are those of new `key` and `value` [1, N, T, D]. They begin as zeros, since
        a mask cannot hide values that are not finite.
        """
        if layer not in self._layers:
            shape = self.n_slots, key.shape[1], key.shape[-1], self.capacity
            dtype = cache_dtype(key.dtype, key.device)
            self._layers[layer] = (
                key.new_zeros(shape, dtype=dtype),
                value.new_zeros(*shape[:2], self.capacity, value.shape[-1], dtype=dtype),
            )
        return self._layers[layer]

    def keep_prefix(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keep keys and values [1, N, P, D] of the prefix that all prompts share.

        If the prefix before had the same length, its tensors are overwritten: a recorded step reads them.
        """
        if layer in self.prefix and self.prefix[layer][0].shape == key.shape:
            for kept, new in zip(self.prefix[layer], (key, value), strict=True):
                kept.copy_(new)
        else:
            # Contiguous: every step reads it again.
            self.prefix[layer] = key.contiguous(), value.contiguous()

    def write(self, layer: int, slot: int, start: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Write keys and values [N, L, D] of one row into its slot, from place `start` on."""
        keys, values = self._layers[layer]
        keys[slot, :, :, start : start + key.shape[1]] = key.transpose(1, 2)
        values[slot, :, start : start + value.shape[1]] = value

    def read(self, layer: int, slot: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values [N, L, D] of the first tokens of a row, in the dtype of the cache."""
        keys, values = self._layers[layer]
        return keys[slot, :, :, :length].transpose(1, 2), values[slot, :, :length]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one slot into another."""
        for layer in self._layers:
            self.write(layer, target, 0, *self.read(layer, source, length))

    def clear_from(self, layer: int, slot: int, start: int) -> None:
        """Zero a layer's slot from place `start` on."""
        keys, values = self._layers[layer]
        keys[slot, :, :, start:] = 0
        values[slot, :, start:] = 0

    def clear(self, slot: int) -> None:
        """Zero a slot whose values are not finite."""
        for layer in self._layers:
            self.clear_from(layer, slot, 0)
