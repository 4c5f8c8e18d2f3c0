"""The attention of rows that have their keys and values in slots: reading prompts, and a step of every row.

Query heads that share a key head are stacked into longer queries of that head, as in `attention_cpu`. What
all prompts begin with is attended in one dense call for all rows, and merged by log-sum-exp.

Shapes: T tokens of a forward pass, B rows, H query heads, N key heads, G = H / N, D head size, S slots, C
tokens of a slot, P of the prefix, K keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from milepost.engine.attention_dense import attend_densely, attend_few, flash_kernel

if TYPE_CHECKING:
    from milepost.engine.generate.kv_cache import KVCache

Partial = tuple[torch.Tensor, torch.Tensor]
"""Output [B, N, L, D] of attention to some of the keys, and its log-sum-exp [B, N, L]."""

ROWS_TOGETHER = 8
"""Rows of a step in one attention call on a CPU: all 32 take half as long again, as they read what only the
longest has."""


@dataclass(frozen=True, slots=True)
class PromptSpan:
    """The tokens of one row in a forward pass that reads prompts."""

    slot: int
    start: int
    stop: int
    """Where they stand among the T tokens."""
    source_slot: int = -1
    """A slot that begins as this one does."""
    n_copied: int = 0
    """How many tokens of it are taken over."""


@dataclass(slots=True)
class PrefixPrefill:
    """Reads what all prompts begin with: causal, and kept for all."""

    slots: KVCache
    layers: list[int] = field(default_factory=list)

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float,
        window: int | None, softcap: float | None,
    ) -> torch.Tensor:  # fmt: skip
        """See `registry.AttentionBackend`."""
        self.layers.append(layer)
        self.slots.keep_prefix(layer, key, value)
        return _causal(query, key, value, scale, window, softcap)[0].transpose(1, 2)


@dataclass(slots=True)
class Prefill:
    """Reads prompts, several in one pass, each behind the prefix and behind what it takes over."""

    slots: KVCache
    spans: list[PromptSpan]
    clear_rest: bool = False
    """Whether the rest of each slot is emptied: what is no number there could not be hidden by a mask."""
    layers: list[int] = field(default_factory=list)

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float,
        window: int | None, softcap: float | None,
    ) -> torch.Tensor:  # fmt: skip
        """See `registry.AttentionBackend`."""
        self.layers.append(layer)
        self.slots.layer(layer, key, value)
        outputs = []
        for span in self.spans:
            row = slice(span.start, span.stop)
            query_row, keys, values = query[:, :, row], key[0, :, row], value[0, :, row]
            if span.n_copied:
                copied = self.slots.read(layer, span.source_slot, span.n_copied)
                keys, values = torch.cat([copied[0], keys], 1), torch.cat([copied[1], values], 1)
            self.slots.write(layer, span.slot, 0, keys, values)
            if self.clear_rest:
                self.slots.clear_from(layer, span.slot, keys.shape[1])
            partial = _causal(query_row, keys[None], values[None], scale, window, softcap)
            outputs.append(self._with_prefix(layer, query_row, partial, scale, softcap))
        return torch.cat(outputs, dim=2).transpose(1, 2)

    def _with_prefix(
        self, layer: int, query: torch.Tensor, own: Partial, scale: float, softcap: float | None
    ) -> torch.Tensor:
        if layer not in self.slots.prefix:
            return own[0]
        n_heads, length = query.shape[1], query.shape[2]
        heads = self.slots.prefix[layer][0].shape[1]
        shape = (1, heads, n_heads // heads * length, -1)
        above = _attend(query.reshape(shape), *self.slots.prefix[layer], None, scale, softcap)
        merged = merge((own[0].reshape(shape), own[1].reshape(shape[:3])), above)
        return merged.view(1, n_heads, length, -1)


@dataclass(slots=True)
class Decode:
    """One new token of each of the first B slots."""

    slots: KVCache
    lengths: Sequence[int]
    """[B] tokens of its own that each row has in its slot already."""
    in_parts: bool = True
    """See `Optimizations.attention_chunks`."""
    layers: list[int] = field(default_factory=list)
    _places: tuple[torch.Tensor, torch.Tensor] | None = None
    """[B] each row's slot, and its new token's place in it."""
    _together: dict[tuple[int | None, int, int], list[_Together]] = field(default_factory=dict)

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float,
        window: int | None, softcap: float | None,
    ) -> torch.Tensor:  # fmt: skip
        """See `registry.AttentionBackend`."""
        self.layers.append(layer)
        n_rows, heads, groups = query.shape[2], key.shape[1], query.shape[1] // key.shape[1]
        keys, values = self.slots.layer(layer, key, value)
        if self._places is None:
            device = key.device
            self._places = torch.arange(n_rows, device=device), torch.tensor(self.lengths, device=device)
        row, place = self._places
        keys[row, :, :, place] = key[0].transpose(0, 1)
        values[row, :, place] = value[0].transpose(0, 1)
        query_BNGD = query[0].transpose(0, 1).reshape(n_rows, heads, groups, -1)
        parts = [
            attend_few(
                query_BNGD[some.rows],
                keys[some.rows, ..., : some.n_keys],
                values[some.rows, :, : some.n_keys],
                some.mask,
                scale,
                softcap,
                merged=layer in self.slots.prefix,
            )
            for some in self._those_together(window, heads, groups, key.device)
        ]
        if layer not in self.slots.prefix:
            return torch.cat([output for output, _ in parts]).reshape(1, n_rows, heads * groups, -1)
        log_totals = [log_total for _, log_total in parts if log_total is not None]
        own = torch.cat([output for output, _ in parts]), torch.cat(log_totals)
        above = attend_prefix(query_BNGD, self.slots.prefix[layer], scale, softcap)
        return merge(own, above).reshape(1, n_rows, heads * groups, -1)

    def _those_together(
        self, window: int | None, heads: int, groups: int, device: torch.device
    ) -> list[_Together]:
        kind = window, heads, groups
        if kind not in self._together:
            n_rows = len(self.lengths)
            n_together = ROWS_TOGETHER if self.in_parts and device.type == "cpu" else n_rows
            self._together[kind] = [
                _Together.of(self.lengths, slice(first, min(first + n_together, n_rows)), *kind, device)
                for first in range(0, n_rows, n_together)
            ]
        return self._together[kind]


@dataclass(frozen=True, slots=True)
class _Together:
    """Rows in neighbouring slots whose attention is one call, as long as the longest of them needs."""

    rows: slice
    n_keys: int
    mask: torch.Tensor
    """[rows N, G, n_keys], 0 or -inf."""

    @classmethod
    def of(
        cls,
        lengths: Sequence[int],
        rows: slice,
        window: int | None,
        heads: int,
        groups: int,
        device: torch.device,
    ) -> _Together:
        last = torch.tensor(lengths[rows], device=device)[:, None]
        n_keys = max(lengths[rows]) + 1
        place = torch.arange(n_keys, device=device)
        seen_BK = place <= last
        if window is not None:
            seen_BK &= place > last - window
        mask_BK = torch.zeros(seen_BK.shape, device=device).masked_fill_(~seen_BK, float("-inf"))
        mask_BNGK = mask_BK[:, None, None].expand(-1, heads, groups, -1)
        return cls(rows, n_keys, mask_BNGK.reshape(-1, groups, n_keys))


def _causal(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> Partial:
    """The last L of K tokens, each seeing itself and those before: [1, H, L, D], log-sum-exp [1, H, L]."""
    n_heads, length = query.shape[1], query.shape[2]
    heads, n_keys = key.shape[1], key.shape[2]
    groups = n_heads // heads
    if window is not None and window >= n_keys:
        window = None
    if length == n_keys and window is None and _by_flash(query, value, softcap):
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        causal: Partial = flash_kernel(query, key, value, is_causal=True, scale=scale)
        return causal
    place = torch.arange(n_keys, device=query.device)
    last = place[n_keys - length :, None]
    seen_LK = place <= last
    if window is not None:
        seen_LK &= place > last - window
    mask_LK = torch.zeros(seen_LK.shape, dtype=query.dtype, device=query.device)
    mask = mask_LK.masked_fill_(~seen_LK, float("-inf")).repeat(groups, 1)[None, None]
    stacked = query.reshape(1, heads, groups * length, -1)
    output, log_total = _attend(stacked, key, value, mask, scale, softcap)
    return output.reshape(1, n_heads, length, -1), log_total.reshape(1, n_heads, length)


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    softcap: float | None,
) -> Partial:
    return attend_densely(query, key, value, mask, scale, softcap, _by_flash(query, value, softcap))


def _by_flash(query: torch.Tensor, value: torch.Tensor, softcap: float | None) -> bool:
    return query.device.type == "cpu" and softcap is None and query.shape[-1] == value.shape[-1]


def attend_prefix(
    query_BNGD: torch.Tensor, prefix: tuple[torch.Tensor, torch.Tensor], scale: float, softcap: float | None
) -> Partial:
    """One query of each row to what all prompts begin with, as one dense product."""
    n_rows, heads, groups, _ = query_BNGD.shape
    stacked = query_BNGD.transpose(0, 1).reshape(1, heads, n_rows * groups, -1)
    output, log_total = _attend(stacked, *prefix, None, scale, softcap)
    return (
        output.view(heads, n_rows, groups, -1).transpose(0, 1),
        log_total.reshape(heads, n_rows, groups).transpose(0, 1),
    )


def merge(one: Partial, other: Partial) -> torch.Tensor:
    """Attention to the keys of both."""
    share = torch.sigmoid(other[1] - one[1])
    return one[0].lerp(other[0], share[..., None].to(one[0].dtype))
