"""Attention of rows with a KV cache: prefill of prompts, and one decode step of every row.

Query heads that share a key head are stacked into longer queries of that head, as in `attention_cpu`. The
prefix that all prompts share is attended in one dense call for all rows, and merged by log-sum-exp.

Shapes: T tokens of a forward pass, B rows, H query heads, N key heads, G = H / N, D head size, S slots, C
tokens of a slot, P of the prefix, K keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from milepost.engine.attention_call import AttentionCall
from milepost.engine.attention_dense import Partial, attend_densely, attend_few, flash_kernel, merge
from milepost.engine.last_layer import KeysCollectedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from milepost.engine.generate.kv_cache import KVCache

ROWS_PER_CALL = 8
"""Rows of a decode step in one attention call on a CPU: all 32 in one take half as long again, as every row
then reads as many keys as the longest has."""


@dataclass(frozen=True, slots=True)
class PromptSpan:
    """The tokens of one prompt in a prefill pass."""

    slot: int
    start: int
    stop: int
    """Range among the T tokens."""
    source_slot: int = -1
    """A slot whose row begins as this one does."""
    n_copied: int = 0
    """Tokens whose keys and values are copied from it."""


@dataclass(slots=True)
class PrefixPrefill:
    """Prefill of the prefix that all prompts share: causal, and kept for all rows."""

    cache: KVCache
    layers: list[int] = field(default_factory=list)

    def attend(self, layer: int, call: AttentionCall) -> torch.Tensor:
        """See `AttentionBackend.attend`."""
        self.layers.append(layer)
        self.cache.keep_prefix(layer, call.key, call.value)
        return attend_causally(call)[0].transpose(1, 2)


@dataclass(slots=True)
class Prefill:
    """Prefill of several prompts in one pass, each after the prefix and after the tokens copied for it."""

    cache: KVCache
    spans: list[PromptSpan]
    clear_rest: bool = False
    """True if the rest of each slot is zeroed: a mask cannot hide values that are not finite."""
    layers: list[int] = field(default_factory=list)
    keys_only: bool = False
    """See `last_layer.RowAttention`."""
    rows: npt.NDArray[np.int64] | None = None
    """[B] the last token of each span, whose queries alone a call then has; its keys are in the cache."""

    def attend(self, layer: int, call: AttentionCall) -> torch.Tensor:
        """See `AttentionBackend.attend`."""
        if self.rows is not None:
            return self._attend_last(layer, call)
        self.layers.append(layer)
        self.cache.layer(layer, call.key, call.value)
        own = []
        for span in self.spans:
            row = slice(span.start, span.stop)
            query, keys, values = call.query[:, :, row], call.key[0, :, row], call.value[0, :, row]
            if span.n_copied:
                copied = self.cache.read(layer, span.source_slot, span.n_copied)
                keys = torch.cat([copied[0].to(keys.dtype), keys], 1)
                values = torch.cat([copied[1].to(values.dtype), values], 1)
            self.cache.write(layer, span.slot, 0, keys, values)
            if self.clear_rest:
                self.cache.clear_from(layer, span.slot, keys.shape[1])
            if not self.keys_only:
                own.append(attend_causally(call.with_tensors(query, keys[None], values[None])))
        if self.keys_only:
            raise KeysCollectedError
        return self._with_prefix(layer, call, own).transpose(1, 2)

    def _attend_last(self, layer: int, call: AttentionCall) -> torch.Tensor:
        own = []
        for place, span in enumerate(self.spans):
            n_keys = span.n_copied + span.stop - span.start
            keys, values = (
                kept.to(call.query.dtype)[None] for kept in self.cache.read(layer, span.slot, n_keys)
            )
            # The flash kernel wants the numbers of a key one after the other.
            last = call.with_tensors(
                call.query[:, :, place : place + 1], keys.contiguous(), values.contiguous()
            )
            own.append(attend_causally(last))
        return self._with_prefix(layer, call, own).transpose(1, 2)

    def _with_prefix(self, layer: int, call: AttentionCall, own: list[Partial]) -> torch.Tensor:
        """Return the output [1, H, T, D] of all spans; `own` is their attention to their own keys."""
        if layer not in self.cache.prefix:
            return torch.cat([output for output, _ in own], dim=2)
        if call.fits_flash_kernel:  # it holds no logits, so that one call can have every query of the pass
            own = [(torch.cat([part[0] for part in own], dim=2), torch.cat([part[1] for part in own], dim=2))]
        queries = call.query.split([output.shape[2] for output, _ in own], dim=2)
        outputs = [self._merged(layer, call, *part) for part in zip(queries, own, strict=True)]
        return torch.cat(outputs, dim=2)

    def _merged(self, layer: int, call: AttentionCall, query: torch.Tensor, own: Partial) -> torch.Tensor:
        key, value = self.cache.prefix[layer]
        n_heads, length, heads = query.shape[1], query.shape[2], key.shape[1]
        shape = (1, heads, n_heads // heads * length, -1)
        above = _attend(call.with_tensors(query.reshape(shape), key, value))
        merged = merge((own[0].reshape(shape), own[1].reshape(shape[:3])), above)
        return merged.view(1, n_heads, length, -1)


@dataclass(slots=True)
class Decode:
    """Decode: one new token of the rows in the first B slots."""

    cache: KVCache
    lengths: Sequence[int]
    """[B] tokens behind the prefix that each row has in its slot already."""
    chunked: bool = True
    """See `Optimizations.attention_chunks`."""
    layers: list[int] = field(default_factory=list)
    _places: tuple[torch.Tensor, torch.Tensor] | None = None
    """[B] each row's slot, and its new token's place in it."""
    _groups: dict[tuple[int | None, int, int], list[_RowGroup]] = field(default_factory=dict)

    def attend(self, layer: int, call: AttentionCall) -> torch.Tensor:
        """See `AttentionBackend.attend`."""
        self.layers.append(layer)
        key, value = call.key, call.value
        n_rows, heads, groups = call.query.shape[2], key.shape[1], call.groups
        keys, values = self.cache.layer(layer, key, value)
        if self._places is None:
            device = key.device
            self._places = torch.arange(n_rows, device=device), torch.tensor(self.lengths, device=device)
        row, place = self._places
        keys[row, :, :, place] = key[0].transpose(0, 1).to(keys.dtype)
        values[row, :, place] = value[0].transpose(0, 1).to(values.dtype)
        query_BNGD = call.query[0].transpose(0, 1).reshape(n_rows, heads, groups, -1)
        prefix = self.cache.prefix.get(layer)
        parts = []
        for group in self._row_groups(call):
            part = call.with_tensors(
                query_BNGD[group.rows],
                keys[group.rows, ..., : group.n_keys],
                values[group.rows, :, : group.n_keys],
            )
            parts.append(attend_few(part, group.mask, merged=prefix is not None))
        output = torch.cat([output for output, _ in parts])
        if prefix is not None:
            log_total = torch.cat([log_total for _, log_total in parts if log_total is not None])
            above = attend_prefix(call.with_tensors(query_BNGD, *prefix))
            output = merge((output, log_total), above)
        return output.reshape(1, n_rows, heads * groups, -1)

    def _row_groups(self, call: AttentionCall) -> list[_RowGroup]:
        kind = call.window, call.key.shape[1], call.groups
        if kind not in self._groups:
            n_rows = len(self.lengths)
            size = ROWS_PER_CALL if self.chunked and call.key.device.type == "cpu" else n_rows
            self._groups[kind] = [
                _RowGroup.of(self.lengths, slice(first, min(first + size, n_rows)), call)
                for first in range(0, n_rows, size)
            ]
        return self._groups[kind]


@dataclass(frozen=True, slots=True)
class _RowGroup:
    """Rows in neighbouring slots whose attention is one call, over as many keys as the longest row has."""

    rows: slice
    n_keys: int
    mask: torch.Tensor
    """[rows N, G, n_keys], 0 or -inf."""

    @classmethod
    def of(cls, lengths: Sequence[int], rows: slice, call: AttentionCall) -> _RowGroup:
        last = torch.tensor(lengths[rows], device=call.key.device)[:, None]
        n_keys = max(lengths[rows]) + 1
        return cls(rows, n_keys, decode_mask(last, n_keys, call))


def decode_mask(last_B1: torch.Tensor, n_keys: int, call: AttentionCall) -> torch.Tensor:
    """Return the mask [B N, G, n_keys], 0 or -inf, of one new token per row at place `last_B1` [B, 1]."""
    place_K = torch.arange(n_keys, device=last_B1.device)
    seen_BK = place_K <= last_B1
    if call.window is not None:
        seen_BK = seen_BK & (place_K > last_B1 - call.window)
    mask_BK = torch.zeros(seen_BK.shape, device=last_B1.device).masked_fill(~seen_BK, float("-inf"))
    groups = call.groups
    mask_BNGK = mask_BK[:, None, None].expand(-1, call.key.shape[1], groups, -1)
    return mask_BNGK.reshape(-1, groups, n_keys)


def attend_causally(call: AttentionCall) -> Partial:
    """Attend to K keys with their last L queries, each seeing itself and the keys before it.

    Returns:
        output [1, H, L, D] and log-sum-exp [1, H, L].
    """
    query, key, value, window = call.query, call.key, call.value, call.window
    n_heads, length = query.shape[1], query.shape[2]
    heads, n_keys, groups = key.shape[1], key.shape[2], call.groups
    if window is not None and window >= n_keys:
        window = None
    if length == n_keys and window is None and call.fits_flash_kernel:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        output, log_total = flash_kernel(query, key, value, is_causal=True, scale=call.scale)
        return output, log_total
    place = torch.arange(n_keys, device=query.device)
    last = place[n_keys - length :, None]
    seen_LK = place <= last
    if window is not None:
        seen_LK &= place > last - window
    mask_LK = torch.zeros(seen_LK.shape, dtype=query.dtype, device=query.device)
    mask = mask_LK.masked_fill_(~seen_LK, float("-inf")).repeat(groups, 1)[None, None]
    stacked = query.reshape(1, heads, groups * length, -1)
    output, log_total = _attend(call.with_tensors(stacked, key, value), mask)
    return output.reshape(1, n_heads, length, -1), log_total.reshape(1, n_heads, length)


def attend_prefix(call: AttentionCall) -> Partial:
    """Attend to the shared prefix with one query of each row [B, N, G, D], as one dense product."""
    n_rows, heads, groups, _ = call.query.shape
    stacked = call.query.transpose(0, 1).reshape(1, heads, n_rows * groups, -1)
    output, log_total = _attend(call.with_tensors(stacked, call.key, call.value))
    return (
        output.view(heads, n_rows, groups, -1).transpose(0, 1),
        log_total.reshape(heads, n_rows, groups).transpose(0, 1),
    )


def _attend(call: AttentionCall, mask: torch.Tensor | None = None) -> Partial:
    return attend_densely(call, mask, flash=call.fits_flash_kernel)
