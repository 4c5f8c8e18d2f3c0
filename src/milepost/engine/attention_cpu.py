"""The attention of one pack as a few dense calls of torch's CPU flash kernel.

Query heads that share a key head are stacked into longer queries of that head (grouped-query attention
without repeating keys). Rows are gathered and put back by precomputed indices, so that a layer costs a
handful of torch calls, however many tiles the pack has.

Shapes: T tokens, C context, H query heads, N key heads, G = H / N, D head size; B, L, K as in
`attention_plan`; R rows as queries: all T but in the last layer.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.attention_dense import attend_densely, flash_kernel
from milepost.engine.attention_hook import running
from milepost.engine.attention_plan import AttentionPlan, plan_attention
from milepost.engine.last_layer import KeysCollectedError, restricted_to_rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.attention_hook import KeysAndValues
    from milepost.engine.body_and_head import SplitModel
    from milepost.engine.optimizations import Optimizations
    from milepost.plan.packs import Pack


MAX_NARROW_ROWS = 0.25
"""The share of a pack's rows that the last layer is narrowed to; for more, running it twice gains little."""


class TileRunner:
    """Runs packs of any size, on any device (fast on the CPU). Keys and values above are [C, N, D]."""

    def __init__(
        self,
        model: SplitModel,
        optimizations: Optimizations,
        n_layers: int,
        most_narrow: float = MAX_NARROW_ROWS,
    ) -> None:
        self.model = model
        self.optimizations = optimizations
        self.layers: list[int] = []
        self._most_narrow = most_narrow
        self._last_layer = model.last_layer(n_layers) if optimizations.narrow_last_layer else None

    def run(
        self, pack: Pack, above: dict[int, KeysAndValues], rows: npt.NDArray[np.int64]
    ) -> tuple[torch.Tensor, dict[int, KeysAndValues]]:
        """One forward pass.

        Args:
            pack: what to run.
            above: keys and values of its context by layer, as the run of the pack before returned them.
            rows: [R] which of its rows are wanted, ascending.

        Returns:
            hidden states [R, D] of those, and what the pack that starts where it stops needs.
        """
        attention = TileAttention(pack=pack, above=above, optimizations=self.optimizations)
        tokens = torch.from_numpy(pack.tokens)[None].to(self.model.device)
        positions = torch.from_numpy(pack.positions)[None].to(self.model.device)
        wanted_R = torch.from_numpy(rows).to(self.model.device)
        with running(attention, self.model.module), self._narrowed(len(pack), wanted_R, attention):
            hidden_TD = self.model.hidden(tokens, position_ids=positions)[0]
        self.layers = attention.layers
        return hidden_TD[wanted_R], attention.kept

    def _narrowed(
        self, n_tokens: int, wanted_R: torch.Tensor, attention: TileAttention
    ) -> AbstractContextManager[None]:
        if self._last_layer is None or len(wanted_R) > self._most_narrow * n_tokens:
            return nullcontext()
        # Layers are better off with a row that nobody wants than with none.
        rows_R = wanted_R if len(wanted_R) else wanted_R.new_zeros(1)
        return restricted_to_rows(rows_R, self._last_layer, attention)


@dataclass(slots=True)
class TileAttention:
    """The attention of one pack, layer by layer."""

    pack: Pack
    above: dict[int, KeysAndValues]
    """Keys and values of the pack's context, by layer; empty where it has none."""
    optimizations: Optimizations
    kept: dict[int, KeysAndValues] = field(default_factory=dict)
    """The same for the pack that starts where this one stops; filled layer by layer."""
    layers: list[int] = field(default_factory=list)
    """Every layer whose keys and values were given, in order."""
    keys_only: bool = False
    """Whether a call ends as soon as its keys and values are known, by a `KeysCollectedError`."""
    rows: npt.NDArray[np.int64] | None = None
    """[R] the pack rows that calls give queries of, who look at the keys of the call before; None for all."""
    _visible: tuple[torch.Tensor, torch.Tensor, list[int]] | None = None
    """Of the last call with keys for all rows: keys, values, and which of them are no numbers."""
    _calls: dict[tuple[object, ...], _Indexed] = field(default_factory=dict)

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
        if self.rows is None or self._visible is None:
            self.layers.append(layer)
            key_CND, value_CND = self._with_context(layer, key[0].transpose(0, 1), value[0].transpose(0, 1))
            self._visible = key_CND, value_CND, self._remove_poison(key_CND, value_CND)
        if self.keys_only:
            raise KeysCollectedError
        key_CND, value_CND, poisoned = self._visible
        query_RHD = query[0].transpose(0, 1).contiguous()
        if window is not None and window > int(self.pack.positions.max(initial=0)):
            window = None
        flash = query.device.type == "cpu" and softcap is None and key.shape[-1] == value.shape[-1]
        groups = query.shape[1] // key.shape[1]
        indexed = self._indexed(window, key.shape[1], groups, flash, query.device, query.dtype)
        output_FD, log_total_F = _attend_tiles(indexed, query_RHD, key_CND, value_CND, scale, softcap)
        output_RHD = output_FD.index_select(0, indexed.place).view(*query_RHD.shape[:2], -1)
        if indexed.paths:
            log_total_RH = log_total_F.index_select(0, indexed.place).view(query_RHD.shape[:2])
        for path in indexed.paths:
            _merge_path(
                path, indexed.flash, query_RHD, key_CND, value_CND, scale, softcap, output_RHD, log_total_RH
            )
        for key_row in poisoned:
            output_RHD[self._seeing(key_row)] = torch.nan
        return output_RHD[None]

    def _seeing(self, key_row: int) -> slice:
        """The queries that see a key."""
        first, stop = max(0, key_row - len(self.pack.context)), int(self.pack.key_end[key_row])
        return slice(first, stop) if self.rows is None else slice(*np.searchsorted(self.rows, [first, stop]))

    def _remove_poison(self, key_CND: torch.Tensor, value_CND: torch.Tensor) -> list[int]:
        """Sets keys and values that are no numbers to 0, in place, and returns their key rows.

        A mask cannot hide them, since 0 * NaN is NaN: they would reach requests they have no part in. Who
        does see such a key is its subtree.
        """
        if torch.isfinite(key_CND.sum() + value_CND.sum()):
            return []
        sound_C = torch.isfinite(key_CND).flatten(1).all(1) & torch.isfinite(value_CND).flatten(1).all(1)
        key_CND[~sound_C] = 0
        value_CND[~sound_C] = 0
        found: list[int] = torch.nonzero(~sound_C)[:, 0].tolist()
        return found

    def _with_context(self, layer: int, key_TND: torch.Tensor, value_TND: torch.Tensor) -> KeysAndValues:
        if layer in self.above:
            key_CND = torch.cat([self.above[layer][0], key_TND])
            value_CND = torch.cat([self.above[layer][1], value_TND])
        else:
            key_CND, value_CND = key_TND.contiguous(), value_TND.contiguous()
        if len(self.pack.keep):
            keep = torch.from_numpy(self.pack.keep).to(key_CND.device)
            self.kept[layer] = key_CND.index_select(0, keep), value_CND.index_select(0, keep)
        return key_CND, value_CND

    def _indexed(
        self,
        window: int | None,
        heads: int,
        groups: int,
        flash: bool,
        device: torch.device,
        dtype: torch.dtype,
    ) -> _Indexed:
        name = (self.rows is None, window, heads, groups, flash, dtype)
        if name not in self._calls:
            plan = plan_attention(
                self.pack,
                rows=self.rows,
                window=window,
                causal_calls=flash,
                cascade=self.optimizations.cascade,
                batch_tiles=self.optimizations.batch_tiles,
            )
            self._calls[name] = _index(plan, heads, groups, flash, device, dtype)
        return self._calls[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class _TileIndex:
    """A tile call as indices into [R * N, G * D] queries and [C * N, D] keys."""

    shape: tuple[int, int, int]
    """B, L, K."""
    queries: torch.Tensor
    keys: torch.Tensor
    mask: torch.Tensor | None
    """[B, 1, L * G, K], 0 or -inf; None for a causal call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PathIndex:
    """A path pass as indices."""

    rows: torch.Tensor | slice
    """[n] of the queries; a slice where they are neighbours."""
    queries: torch.Tensor
    keys: torch.Tensor
    place: torch.Tensor
    """[n * H] where each query's heads stand in the kernel's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Indexed:
    """An attention plan for N key heads with G query heads each."""

    heads: int
    groups: int
    flash: bool
    tiles: list[_TileIndex]
    paths: list[_PathIndex]
    place: torch.Tensor
    """[R * H] where each query's heads stand among the kernels' outputs, one after the other."""


def _index(
    plan: AttentionPlan, heads: int, groups: int, flash: bool, device: torch.device, dtype: torch.dtype
) -> _Indexed:
    tiles, paths = [], []
    for call in plan.tile_calls:
        queries_BL, keys_BK = torch.from_numpy(call.queries), torch.from_numpy(call.keys)
        mask = None
        if call.allowed is not None:
            allowed_BLGK = torch.from_numpy(call.allowed)[:, :, None].expand(-1, -1, groups, -1)
            allowed = allowed_BLGK.reshape(len(call.queries), 1, -1, call.keys.shape[1]).to(device)
            mask = torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill_(
                ~allowed, float("-inf")
            )
        tiles.append(
            _TileIndex(
                shape=(*call.queries.shape, call.keys.shape[1]),
                queries=_by_head(queries_BL, heads).to(device),
                keys=_by_head(keys_BK, heads).to(device),
                mask=mask,
            )
        )
    for path in plan.path_passes:
        rows = torch.from_numpy(path.queries)
        together = len(rows) == int(rows[-1] - rows[0]) + 1
        paths.append(
            _PathIndex(
                rows=slice(int(rows[0]), int(rows[-1]) + 1) if together else rows.to(device),
                queries=_by_head(rows[None], heads).to(device),
                keys=_by_head(torch.from_numpy(path.keys)[None], heads).to(device),
                place=_head_places(torch.arange(len(rows)), heads, groups).to(device),
            )
        )
    place = _head_places(torch.from_numpy(plan.place), heads, groups).to(device)
    return _Indexed(heads=heads, groups=groups, flash=flash, tiles=tiles, paths=paths, place=place)


def _by_head(rows_BL: torch.Tensor, heads: int) -> torch.Tensor:
    """[B * N * L] index of each row's part for a key head, where rows are [.., N] apart."""
    return (rows_BL[:, None, :] * heads + torch.arange(heads)[None, :, None]).reshape(-1)


def _head_places(places_R: torch.Tensor, heads: int, groups: int) -> torch.Tensor:
    """[R * H] from the order (row, group, key head) of the kernel's output to (row, key head, group)."""
    head = torch.arange(heads)[:, None] + torch.arange(groups)[None, :] * heads
    return (places_R[:, None] * heads * groups + head.reshape(-1)[None]).reshape(-1)


def _attend_tiles(
    indexed: _Indexed,
    query_RHD: torch.Tensor,
    key_CND: torch.Tensor,
    value_CND: torch.Tensor,
    scale: float,
    softcap: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs [F, D] and log-sum-exps [F] of all tile calls, F = sum of B * L * H."""
    outputs, log_totals = [], []
    heads, groups = indexed.heads, indexed.groups
    for tile in indexed.tiles:
        n_tiles, n_rows, n_keys = tile.shape
        query = _gather(query_RHD, tile.queries, groups).view(n_tiles, heads, n_rows * groups, -1)
        key = _gather(key_CND, tile.keys, 1).view(n_tiles, heads, n_keys, -1)
        value = _gather(value_CND, tile.keys, 1).view(n_tiles, heads, n_keys, -1)
        if tile.mask is None:
            output, log_total = _causal(query, key, value, scale, groups)
        else:
            output, log_total = attend_densely(query, key, value, tile.mask, scale, softcap, indexed.flash)
        outputs.append(output.transpose(1, 2).reshape(-1, output.shape[-1]))
        log_totals.append(log_total.transpose(1, 2).reshape(-1))
    if len(outputs) == 1:
        return outputs[0], log_totals[0]
    return torch.cat(outputs), torch.cat(log_totals)


def _merge_path(
    path: _PathIndex,
    flash: bool,
    query_RHD: torch.Tensor,
    key_CND: torch.Tensor,
    value_CND: torch.Tensor,
    scale: float,
    softcap: float | None,
    output_RHD: torch.Tensor,
    log_total_RH: torch.Tensor,
) -> None:
    """Adds what the rows see in their path to what they saw in their tiles, in place."""
    n_heads, heads = query_RHD.shape[1], key_CND.shape[1]
    query = _gather(query_RHD, path.queries, n_heads // heads).view(1, heads, -1, query_RHD.shape[-1])
    key = _gather(key_CND, path.keys, 1).view(1, heads, -1, key_CND.shape[-1])
    value = _gather(value_CND, path.keys, 1).view(1, heads, -1, value_CND.shape[-1])
    output, log_total = attend_densely(query, key, value, None, scale, softcap, flash)
    output = output.transpose(1, 2).reshape(-1, output.shape[-1]).index_select(0, path.place)
    log_total = log_total.transpose(1, 2).reshape(-1).index_select(0, path.place)
    own_nHD, own_total_nH = output_RHD[path.rows], log_total_RH[path.rows]
    share_nH = torch.sigmoid(log_total.view_as(own_total_nH) - own_total_nH)
    output_RHD[path.rows] = own_nHD.lerp(output.view_as(own_nHD), share_nH[..., None].to(own_nHD.dtype))


def _gather(rows_THD: torch.Tensor, index: torch.Tensor, groups: int) -> torch.Tensor:
    """[len(index), groups * D]: the parts of rows that belong to one key head."""
    return rows_THD.view(-1, groups * rows_THD.shape[-1]).index_select(0, index)


def _causal(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, groups: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for one unbranched tile; the heads are taken apart again, as its kernel counts rows."""
    n_heads, length = query.shape[1], key.shape[2]
    query = query.view(n_heads, length, groups, -1).transpose(1, 2).reshape(1, n_heads * groups, length, -1)
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    output, log_total = flash_kernel(query, key, value, is_causal=True, scale=scale)
    output = (
        output.view(1, n_heads, groups, length, -1).transpose(2, 3).reshape(1, n_heads, length * groups, -1)
    )
    log_total = log_total.view(1, n_heads, groups, length).transpose(2, 3)
    return output, log_total.reshape(1, n_heads, length * groups)
