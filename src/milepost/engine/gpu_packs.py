"""Packs on the device: uploaded before they run, and kept for the next checkpoint, which needs the same.

Shapes: T tokens of a full pack, C context rows, K = C + T keys, M rows with logits, J predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.tree_mask import MaskBlocks, Visibility, find_blocks

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator
    from milepost.engine.gpu_values import RunnerSettings
    from milepost.plan.joined_shards import JoinedPack
    from milepost.types.sequences import Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedPack:
    """A pack on the device, padded to the runner's size."""

    sequences: tuple[Sequences, ...]
    """The shards; kept alive so that their ids cannot be reused for other objects."""
    input_2T: torch.Tensor
    """[2, T] int64: token ids, positions."""
    visibility_2K: torch.Tensor
    """[2, K] int32: key ends, key positions (`tree_mask.Visibility`)."""
    keep_C: torch.Tensor
    """[C] int32: key rows of the next pack's context; the last one repeated."""
    has_below: bool
    blocks: dict[int | None, MaskBlocks]
    """The block mask of each window."""
    needed_M: torch.Tensor
    target_row_J: torch.Tensor
    target_J: torch.Tensor

    @property
    def n_bytes(self) -> int:
        """Size on the device."""
        tensors = [self.input_2T, self.visibility_2K, self.keep_C]
        tensors += [self.needed_M, self.target_row_J, self.target_J]
        for blocks in self.blocks.values():
            tensors += blocks.tensors()
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def stage(
    pack: JoinedPack, settings: RunnerSettings, windows: set[int | None], accelerator: Accelerator
) -> StagedPack:
    """Upload a pack without waiting for it; its mask is computed on the device."""
    n, n_above, n_tokens, n_context = len(pack), pack.n_context, settings.n_tokens, settings.n_context
    # Padding repeats a token of the pack, so that it adds no embedding that could be NaN.
    inputs = np.zeros((2, n_tokens), dtype=np.int64)
    inputs[0] = pack.tokens[0] if n else 0
    inputs[0, :n], inputs[1, :n] = pack.tokens, pack.positions
    seen = np.zeros((2, n_context + n_tokens), dtype=np.int32)
    # A padding token sees itself, as a row without any key would be NaN.
    seen[0, n_context:] = np.arange(1, n_tokens + 1)
    seen[0, :n_above], seen[0, n_context : n_context + n] = pack.key_end[:n_above], pack.key_end[n_above:]
    seen[1, :n_above], seen[1, n_context : n_context + n] = np.arange(n_above), pack.positions
    keep = np.zeros(n_context, dtype=np.int32)
    kept = np.where(pack.keep < n_above, pack.keep, pack.keep - n_above + n_context)
    keep[: len(kept)] = kept
    keep[len(kept) :] = kept[-1] if len(kept) else 0
    visibility_2K = accelerator.upload(seen)
    return StagedPack(
        sequences=pack.sequences,
        input_2T=accelerator.upload(inputs),
        visibility_2K=visibility_2K,
        keep_C=accelerator.upload(keep),
        has_below=len(kept) > 0,
        blocks={window: find_blocks(Visibility(*visibility_2K), n_context, window) for window in windows},
        needed_M=accelerator.upload(pack.needed),
        target_row_J=accelerator.upload(pack.target_row),
        target_J=accelerator.upload(pack.target),
    )


class PackCache:
    """Staged packs, kept while there is room: the next checkpoint scores the same packs in the same order."""

    def __init__(self, accelerator: Accelerator, room_bytes: int) -> None:
        self.n_uploaded = 0
        self._accelerator = accelerator
        self._room = room_bytes
        self._kept: dict[tuple[object, ...], StagedPack] = {}

    def staged(self, pack: JoinedPack, settings: RunnerSettings, windows: set[int | None]) -> StagedPack:
        """Return the pack on the device, from the cache if it is there."""
        shape = (settings.n_tokens, settings.n_context)
        pieces = tuple((id(s), p.start, p.stop) for s, p in zip(pack.sequences, pack.pieces, strict=True))
        kept = self._kept.get((shape, pieces))
        if kept is not None:
            return kept
        self.n_uploaded += 1
        staged = stage(pack, settings, windows, self._accelerator)
        if staged.n_bytes <= self._room:
            self._room -= staged.n_bytes
            self._kept[shape, pieces] = staged
        return staged

    def clear(self) -> None:
        """Drop all packs and keep no more: the device is short of memory."""
        self._kept.clear()
        self._room = 0
