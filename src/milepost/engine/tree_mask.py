"""The block mask of a pack for FlexAttention, in tensors at fixed addresses.

Every pack is described by the same few tensors, and the kernel reads nothing else. So it is compiled once,
and the description of a new pack is copied over that of the one before.

Shapes: T tokens of a full pack, C context rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask

from milepost.engine.kernel_options import BLOCK

UNLIMITED = 2**31 - 1
"""A window that hides nothing."""


@dataclass(frozen=True, slots=True)
class Visibility:
    """Keys that each row of a pack sees: rows `k - C .. key_end[k]` see key row k, within their window."""

    key_end: torch.Tensor
    """[C + T] int32: the first row that no longer sees the key, 0 .. T."""
    key_position: torch.Tensor
    """[C + T] int32: position of each key in its sequences."""


@dataclass(frozen=True, slots=True)
class MaskBlocks:
    """The same by blocks: for each block of rows, the blocks of keys that it sees partly or wholly."""

    partial_number: torch.Tensor
    """[1, 1, T / BLOCK] int32: how many blocks of keys."""
    partial_order: torch.Tensor
    """[1, 1, T / BLOCK, (C + T) / BLOCK] int32: the numbers of those blocks come first."""
    full_number: torch.Tensor
    full_order: torch.Tensor

    def tensors(self) -> list[torch.Tensor]:
        """Return all four tensors."""
        return [self.partial_number, self.partial_order, self.full_number, self.full_order]


def empty_blocks(n_tokens: int, n_context: int, device: torch.device) -> MaskBlocks:
    """Return blocks for other blocks to be copied into."""
    rows, columns = n_tokens // BLOCK, (n_context + n_tokens) // BLOCK
    number, order = (1, 1, rows), (1, 1, rows, columns)
    return MaskBlocks(
        *(torch.zeros(*shape, dtype=torch.int32, device=device) for shape in (number, order) * 2)
    )


def find_blocks(visibility: Visibility, n_context: int, window: int | None) -> MaskBlocks:
    """Return the blocks of a pack."""
    key_end, device = visibility.key_end, visibility.key_end.device
    key_row = torch.arange(len(key_end), device=device, dtype=torch.int32) - n_context
    first = torch.arange(0, len(key_end) - n_context, BLOCK, device=device, dtype=torch.int32)[:, None]
    partly = torch.maximum(key_row, first) < torch.minimum(key_end, first + BLOCK)
    wholly = (key_row <= first) & (key_end >= first + BLOCK)
    if window is not None:
        position = visibility.key_position[n_context:].view(-1, BLOCK)
        wholly &= position.amax(1)[:, None] - visibility.key_position < window
        partly &= position.amin(1)[:, None] - visibility.key_position < window
    partly_block = partly.view(len(first), -1, BLOCK).any(-1)
    wholly_block = wholly.view(len(first), -1, BLOCK).all(-1)
    tensors = []
    for wanted in (partly_block & ~wholly_block, wholly_block):
        order = wanted.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        tensors += [wanted.sum(1, dtype=torch.int32)[None, None], order.to(torch.int32)[None, None]]
    return MaskBlocks(*tensors)


def block_mask(
    visibility: Visibility, blocks: MaskBlocks, n_context: int, window: torch.Tensor | None
) -> BlockMask:
    """Return a mask that reads these very tensors whenever it is used.

    Args:
        window: a row sees keys less than this many positions before it; a tensor, so that layers with and
            without a window share one kernel. None if no layer of the model has a window.
    """
    key_end, key_position = visibility.key_end, visibility.key_position

    def in_tree(_b: Any, _h: Any, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return (k - n_context <= q) & (q < key_end[k])

    def in_tree_and_near(_b: Any, _h: Any, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        assert window is not None
        near = key_position[q + n_context] - key_position[k] < window
        return (k - n_context <= q) & (q < key_end[k]) & near

    n_keys = len(key_end)
    mask = BlockMask.from_kv_blocks(
        blocks.partial_number,
        blocks.partial_order,
        blocks.full_number,
        blocks.full_order,
        BLOCK_SIZE=BLOCK,
        mask_mod=in_tree if window is None else in_tree_and_near,
        seq_lengths=(n_keys - n_context, n_keys),
    )
    # The mask must hold our tensors, not copies, for a new pack to reach it.
    mask.kv_num_blocks, mask.kv_indices = blocks.partial_number, blocks.partial_order
    mask.full_kv_num_blocks, mask.full_kv_indices = blocks.full_number, blocks.full_order
    return mask
