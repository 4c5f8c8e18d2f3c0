"""The attention of one pack on a GPU: FlexAttention over the whole pack, its block mask made from the tree.

Every pack is padded to one size, its context too, and everything that changes from pack to pack lies in
buffers that stay where they are. So the model's body is compiled once, and once more only where a pack did
not fit into memory. The first pack runs uncompiled: it shows which layers, shapes and windows there are.

Shapes: T tokens of a full pack, C context rows, H query heads, N key heads, D head size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from milepost.engine.registry import running

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from milepost.engine.registry import KeysAndValues
    from milepost.engine.split import SplitModel
    from milepost.plan.packs import Pack

BLOCK = 128
"""Rows and keys of a block of the mask; T and C are multiples of it."""


def round_up(n: int) -> int:
    """The multiple of BLOCK at or above n, at least one."""
    return max(1, -(-n // BLOCK)) * BLOCK


class FlexRunner:
    """Runs packs of at most `n_tokens` tokens with at most `n_context` rows of context."""

    def __init__(self, model: SplitModel, n_tokens: int, n_context: int, *, compiled: bool) -> None:
        self.model = model
        self.compiled = compiled
        self.n_tokens, self.n_context = round_up(n_tokens), round_up(n_context)
        device = model.device
        n_keys = self.n_context + self.n_tokens
        self._tokens = torch.zeros(1, self.n_tokens, dtype=torch.int64, device=device)
        self._positions = torch.zeros(1, self.n_tokens, dtype=torch.int64, device=device)
        self._keep = torch.zeros(self.n_context, dtype=torch.int64, device=device)
        self._key_end = torch.zeros(n_keys, dtype=torch.int64, device=device)
        self._key_position = torch.zeros(n_keys, dtype=torch.int64, device=device)
        self._masks: dict[int | None, _TreeMask] = {}
        self._above: dict[int, KeysAndValues] = {}
        self._kept: dict[int, KeysAndValues] = {}
        self._warm = False
        self.layers: list[int] = []

    def run(
        self, pack: Pack, above: dict[int, KeysAndValues], rows: npt.NDArray[np.int64]
    ) -> tuple[torch.Tensor, dict[int, KeysAndValues]]:
        """See `registry.PackRunner`; keys and values are [1, N, C, D]."""
        self._load(pack, above)
        self.layers = []
        with running(self, self.model.module):
            hidden_TD = self.model.hidden(
                self._tokens, compiled=self.compiled and self._warm, position_ids=self._positions
            )[0]
        self._warm = True
        kept = {layer: (key.clone(), value.clone()) for layer, (key, value) in self._kept.items()}
        return hidden_TD[torch.from_numpy(rows).to(hidden_TD.device)], kept

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> torch.Tensor:
        """See `registry.AttentionBackend`."""
        if not torch.compiler.is_compiling():
            self._prepare(layer, key, value, window)
        above_key, above_value = self._above[layer]
        keys, values = torch.cat([above_key, key], dim=2), torch.cat([above_value, value], dim=2)
        kept_key, kept_value = self._kept[layer]
        kept_key.copy_(keys.index_select(2, self._keep))
        kept_value.copy_(values.index_select(2, self._keep))
        sound_K = torch.isfinite(keys).all(3).all(1)[0] & torch.isfinite(values).all(3).all(1)[0]
        keys = torch.where(sound_K[:, None], keys, 0)
        values = torch.where(sound_K[:, None], values, 0)
        output: Any = flex_attention(
            query,
            keys,
            values,
            score_mod=None if softcap is None else _soft_cap(softcap),
            block_mask=self._masks[window].block_mask,
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        output = torch.where(self._poisoned_rows(~sound_K)[None, None, :, None], torch.nan, output)
        return output.transpose(1, 2).contiguous()

    def _poisoned_rows(self, broken_K: torch.Tensor) -> torch.Tensor:
        """[T] which rows see a key that is no number; a mask cannot hide those, since 0 * NaN is NaN."""
        broken = broken_K.to(torch.int32)
        first_row = (torch.arange(len(broken), device=broken.device) - self.n_context).clamp(min=0)
        ends = torch.maximum(self._key_end, first_row)
        change = torch.zeros(self.n_tokens + 1, dtype=torch.int32, device=broken.device)
        change = change.index_add(0, first_row, broken).index_add(0, ends, -broken)
        return change.cumsum(0)[:-1] > 0

    def _prepare(self, layer: int, key: torch.Tensor, value: torch.Tensor, window: int | None) -> None:
        """Makes what the compiled body will find in place."""
        self.layers.append(layer)
        if layer not in self._above:
            rows = (*key.shape[:2], self.n_context)
            self._above[layer] = key.new_zeros(*rows, key.shape[-1]), value.new_zeros(*rows, value.shape[-1])
            self._kept[layer] = key.new_zeros(*rows, key.shape[-1]), value.new_zeros(*rows, value.shape[-1])
        if window not in self._masks:
            mask = _TreeMask.empty(self._key_end, self._key_position, self.n_context, window)
            self._masks[window] = mask
            mask.refill()

    def _load(self, pack: Pack, above: dict[int, KeysAndValues]) -> None:
        n, n_above, first = len(pack), len(pack.context), self.n_context
        device = self._tokens.device
        self._tokens.zero_()
        self._positions.zero_()
        self._key_position.zero_()
        self._tokens[0, :n] = torch.from_numpy(pack.tokens).to(device)
        self._positions[0, :n] = torch.from_numpy(pack.positions).to(device)
        self._key_position[:n_above] = torch.arange(n_above, device=device)
        self._key_position[first : first + n] = self._positions[0, :n]
        self._key_end.zero_()
        # A padding token sees itself: a row without any key would be NaN, and NaN cannot be masked away.
        self._key_end[first:] = torch.arange(1, self.n_tokens + 1, device=device)
        key_end = torch.from_numpy(pack.key_end).to(device)
        self._key_end[:n_above], self._key_end[first : first + n] = key_end[:n_above], key_end[n_above:]
        keep = torch.from_numpy(pack.keep).to(device)
        self._keep.zero_()
        self._keep[: len(keep)] = torch.where(keep < n_above, keep, keep - n_above + first)
        for layer, (key, value) in above.items():
            if layer not in self._above:
                self._above[layer] = torch.empty_like(key), torch.empty_like(value)
                self._kept[layer] = torch.empty_like(key), torch.empty_like(value)
            self._above[layer][0].copy_(key)
            self._above[layer][1].copy_(value)
        for mask in self._masks.values():
            mask.refill()


@dataclass(frozen=True, slots=True, kw_only=True)
class _TreeMask:
    """A block mask whose tensors stay in place while the tree that they describe changes."""

    key_end: torch.Tensor
    key_position: torch.Tensor
    n_context: int
    window: int | None
    partial: tuple[torch.Tensor, torch.Tensor]
    """Number [1, 1, T / BLOCK] and order [1, 1, T / BLOCK, (C + T) / BLOCK] of blocks that need the rule."""
    full: tuple[torch.Tensor, torch.Tensor]
    """The same for blocks in which every row sees every key."""
    block_mask: BlockMask

    @classmethod
    def empty(
        cls, key_end: torch.Tensor, key_position: torch.Tensor, n_context: int, window: int | None
    ) -> _TreeMask:
        n_keys = len(key_end)
        rows, columns = (n_keys - n_context) // BLOCK, n_keys // BLOCK

        def blocks() -> tuple[torch.Tensor, torch.Tensor]:
            number = torch.zeros(1, 1, rows, dtype=torch.int32, device=key_end.device)
            order = torch.arange(columns, dtype=torch.int32, device=key_end.device)
            return number, order.expand(1, 1, rows, columns).contiguous()

        def visible(_b: Any, _h: Any, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            seen = (k - n_context <= q) & (q < key_end[k])
            if window is not None:
                seen = seen & (key_position[q + n_context] - key_position[k] < window)
            return seen

        partial, full = blocks(), blocks()
        block_mask = BlockMask.from_kv_blocks(
            *partial, *full, BLOCK_SIZE=BLOCK, mask_mod=visible, seq_lengths=(n_keys - n_context, n_keys)
        )
        # The mask must hold our tensors, not copies, for `refill` to reach it.
        block_mask.kv_num_blocks, block_mask.kv_indices = partial
        block_mask.full_kv_num_blocks, block_mask.full_kv_indices = full
        return cls(
            key_end=key_end,
            key_position=key_position,
            n_context=n_context,
            window=window,
            partial=partial,
            full=full,
            block_mask=block_mask,
        )

    def refill(self) -> None:
        """Finds the blocks again for what `key_end` and `key_position` now hold."""
        device = self.key_end.device
        key_row = torch.arange(len(self.key_end), device=device) - self.n_context
        first = torch.arange(0, len(self.key_end) - self.n_context, BLOCK, device=device)[:, None]
        some = torch.maximum(key_row, first) < torch.minimum(self.key_end, first + BLOCK)
        every = (key_row <= first) & (self.key_end >= first + BLOCK)
        if self.window is not None:
            last_position = self.key_position[self.n_context :].view(-1, BLOCK).amax(1)
            every &= last_position[:, None] - self.key_position < self.window
        some_block = some.view(len(first), -1, BLOCK).any(-1)
        every_block = every.view(len(first), -1, BLOCK).all(-1)
        for (number, order), wanted in ((self.partial, some_block & ~every_block), (self.full, every_block)):
            number[0, 0] = wanted.sum(1)
            order[0, 0] = wanted.to(torch.int8).argsort(dim=1, descending=True, stable=True)


def _soft_cap(cap: float) -> Callable[..., torch.Tensor]:
    def score(score: torch.Tensor, _b: Any, _h: Any, _q: Any, _k: Any) -> torch.Tensor:
        return torch.tanh(score / cap) * cap

    return score
