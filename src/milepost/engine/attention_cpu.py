"""The attention of one pack on a CPU: a few dense calls of torch's flash kernel.

Query heads that share a key head are stacked into longer queries of that head (grouped-query attention
without repeated keys). Rows are gathered and put back by precomputed indices, so that a layer costs a handful
of torch calls, however many tiles the pack has.

Shapes: T tokens, C context, H query heads, N key heads, G = H / N, D head size; B, L, K as in
`attention_plan`; R rows as queries: all T but in the last layer.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.attention_call import AttentionCall
from milepost.engine.attention_dense import Partial, attend_densely, flash_kernel
from milepost.engine.attention_hook import using_backend
from milepost.engine.attention_plan import AttentionPlan, plan_attention
from milepost.engine.last_layer import KeysCollectedError, restricted_to_rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.attention_call import KeysAndValues
    from milepost.engine.body_and_head import SplitModel
    from milepost.engine.optimizations import Optimizations
    from milepost.plan.packs import Pack

MAX_NARROW_SHARE = 0.25
"""The largest share of a pack's rows for which the last layer is narrowed; for more, running it twice gains
little."""


class TileRunner:
    """Runs packs of any size, on any device (fast on the CPU). Keys and values of a context are [C, N, D]."""

    def __init__(
        self,
        model: SplitModel,
        optimizations: Optimizations,
        n_layers: int,
        max_narrow_share: float = MAX_NARROW_SHARE,
    ) -> None:
        self.model = model
        self.optimizations = optimizations
        self.layers: list[int] = []
        """Layers whose attention the last run called, in order."""
        self._max_narrow_share = max_narrow_share
        self._last_layer = model.last_layer(n_layers) if optimizations.narrow_last_layer else None

    def run(
        self, pack: Pack, above: dict[int, KeysAndValues], rows: npt.NDArray[np.int64]
    ) -> tuple[torch.Tensor, dict[int, KeysAndValues]]:
        """Run one forward pass.

        Args:
            above: keys and values of its context by layer, as the run of the pack before returned them.
            rows: [R] its rows whose hidden states are needed, ascending.

        Returns:
            hidden states [R, D] of the rows, and the context of the pack that starts where this one stops.
        """
        attention = TileAttention(pack=pack, above=above, optimizations=self.optimizations)
        tokens = torch.from_numpy(pack.tokens)[None].to(self.model.device)
        positions = torch.from_numpy(pack.positions)[None].to(self.model.device)
        rows_R = torch.from_numpy(rows).to(self.model.device)
        with using_backend(attention, self.model.module), self._narrowed(len(pack), rows_R, attention):
            hidden_TD = self.model.hidden(tokens, position_ids=positions)[0]
        self.layers = attention.layers
        return hidden_TD[rows_R], attention.kept

    def _narrowed(
        self, n_tokens: int, rows_R: torch.Tensor, attention: TileAttention
    ) -> AbstractContextManager[None]:
        if self._last_layer is None or len(rows_R) > self._max_narrow_share * n_tokens:
            return nullcontext()
        # Layers cope better with one needless row than with no row.
        return restricted_to_rows(rows_R if len(rows_R) else rows_R.new_zeros(1), self._last_layer, attention)


@dataclass(slots=True)
class TileAttention:
    """The attention of one pack, layer by layer."""

    pack: Pack
    above: dict[int, KeysAndValues]
    """Keys and values of the pack's context, by layer; empty without a context."""
    optimizations: Optimizations
    kept: dict[int, KeysAndValues] = field(default_factory=dict)
    """The same for the pack that starts where this one stops; filled layer by layer."""
    layers: list[int] = field(default_factory=list)
    """Layers whose keys and values were given, in order."""
    keys_only: bool = False
    """True if a call ends as soon as its keys and values are known, by a `KeysCollectedError`."""
    rows: npt.NDArray[np.int64] | None = None
    """[R] the pack rows whose queries later calls give, for the keys of the call before; None for all."""
    _visible: tuple[torch.Tensor, torch.Tensor, list[int]] | None = None
    """Keys and values of the last call with keys for all rows, and the key rows that are not finite."""
    _calls: dict[tuple[object, ...], _Indexed] = field(default_factory=dict)

    def attend(self, layer: int, call: AttentionCall) -> torch.Tensor:
        """See `AttentionBackend.attend`."""
        query, key, value = call.query, call.key, call.value
        if self.rows is None or self._visible is None:
            self.layers.append(layer)
            key_CND, value_CND = self._with_context(layer, key[0].transpose(0, 1), value[0].transpose(0, 1))
            self._visible = key_CND, value_CND, self._zero_broken(key_CND, value_CND)
        if self.keys_only:
            raise KeysCollectedError
        key_CND, value_CND, broken = self._visible
        query_RHD = query[0].transpose(0, 1).contiguous()
        indexed = self._indexed(call)
        by_row = call.with_tensors(query_RHD, key_CND, value_CND)
        output_FD, log_total_F = _attend_tiles(indexed, by_row)
        output_RHD = output_FD.index_select(0, indexed.place).view(*query_RHD.shape[:2], -1)
        if indexed.paths:
            log_total_RH = log_total_F.index_select(0, indexed.place).view(query_RHD.shape[:2])
        for path in indexed.paths:
            _merge_path(path, indexed.flash, by_row, (output_RHD, log_total_RH))
        for key_row in broken:
            output_RHD[self._rows_that_see(key_row)] = torch.nan
        return output_RHD[None]

    def _rows_that_see(self, key_row: int) -> slice:
        first, stop = max(0, key_row - len(self.pack.context)), int(self.pack.key_end[key_row])
        return slice(first, stop) if self.rows is None else slice(*np.searchsorted(self.rows, [first, stop]))

    def _zero_broken(self, key_CND: torch.Tensor, value_CND: torch.Tensor) -> list[int]:
        """Set keys and values that are not finite to 0, in place, and return their key rows.

        A mask cannot hide them, since 0 * NaN is NaN: they would reach requests that do not contain them.
        Only the descendants of such a key can see it.
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

    def _indexed(self, call: AttentionCall) -> _Indexed:
        window, flash = call.window, call.fits_flash_kernel
        if window is not None and window > int(self.pack.positions.max(initial=0)):
            window = None
        name = (self.rows is None, window, call.key.shape[1], call.groups, flash, call.query.dtype)
        if name not in self._calls:
            plan = plan_attention(
                self.pack,
                rows=self.rows,
                window=window,
                causal_calls=flash,
                cascade=self.optimizations.cascade,
                batch_tiles=self.optimizations.batch_tiles,
            )
            self._calls[name] = _index(plan, call)
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
    """[n] the queries' rows; a slice if they are neighbours."""
    queries: torch.Tensor
    keys: torch.Tensor
    place: torch.Tensor
    """[n * H] places of each query's heads in the kernel's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Indexed:
    """An attention plan for N key heads with G query heads each."""

    heads: int
    groups: int
    flash: bool
    tiles: list[_TileIndex]
    paths: list[_PathIndex]
    place: torch.Tensor
    """[R * H] places of each query's heads in the concatenated outputs of the kernels."""


def _index(plan: AttentionPlan, call: AttentionCall) -> _Indexed:
    heads, groups, device = call.key.shape[1], call.groups, call.query.device
    tiles, paths = [], []
    for tile in plan.tile_calls:
        queries_BL, keys_BK = torch.from_numpy(tile.queries), torch.from_numpy(tile.keys)
        mask = None
        if tile.allowed is not None:
            allowed_BLGK = torch.from_numpy(tile.allowed)[:, :, None].expand(-1, -1, groups, -1)
            allowed = allowed_BLGK.reshape(len(tile.queries), 1, -1, tile.keys.shape[1]).to(device)
            mask = torch.zeros(allowed.shape, dtype=call.query.dtype, device=device)
            mask.masked_fill_(~allowed, float("-inf"))
        tiles.append(
            _TileIndex(
                shape=(*tile.queries.shape, tile.keys.shape[1]),
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
    return _Indexed(
        heads=heads, groups=groups, flash=call.fits_flash_kernel, tiles=tiles, paths=paths, place=place
    )


def _by_head(rows_BL: torch.Tensor, heads: int) -> torch.Tensor:
    """Return the index [B * N * L] of each row's part for a key head; a row has N parts."""
    return (rows_BL[:, None, :] * heads + torch.arange(heads)[None, :, None]).reshape(-1)


def _head_places(places_R: torch.Tensor, heads: int, groups: int) -> torch.Tensor:
    """Return the index [R * H] from (row, group, key head), the kernel's order, to (row, key head, group)."""
    head = torch.arange(heads)[:, None] + torch.arange(groups)[None, :] * heads
    return (places_R[:, None] * heads * groups + head.reshape(-1)[None]).reshape(-1)


def _attend_tiles(indexed: _Indexed, call: AttentionCall) -> Partial:
    """Return outputs [F, D] and log-sum-exps [F] of all tile calls, F = sum of B * L * H.

    The call's queries are [R, H, D], its keys and values [C, N, D].
    """
    outputs, log_totals = [], []
    heads, groups = indexed.heads, indexed.groups
    for tile in indexed.tiles:
        n_tiles, n_rows, n_keys = tile.shape
        tile_call = call.with_tensors(
            _gather(call.query, tile.queries, groups).view(n_tiles, heads, n_rows * groups, -1),
            _gather(call.key, tile.keys, 1).view(n_tiles, heads, n_keys, -1),
            _gather(call.value, tile.keys, 1).view(n_tiles, heads, n_keys, -1),
        )
        if tile.mask is None:
            output, log_total = _causal(tile_call, groups)
        else:
            output, log_total = attend_densely(tile_call, tile.mask, flash=indexed.flash)
        outputs.append(output.transpose(1, 2).reshape(-1, output.shape[-1]))
        log_totals.append(log_total.transpose(1, 2).reshape(-1))
    if len(outputs) == 1:
        return outputs[0], log_totals[0]
    return torch.cat(outputs), torch.cat(log_totals)


def _merge_path(path: _PathIndex, flash: bool, call: AttentionCall, tiles: Partial) -> None:
    """Add the rows' attention to their path to that in their tiles, [R, H, D] and [R, H], in place.

    The call is that of `_attend_tiles`.
    """
    output_RHD, log_total_RH = tiles
    heads = call.key.shape[1]
    path_call = call.with_tensors(
        _gather(call.query, path.queries, call.groups).view(1, heads, -1, call.query.shape[-1]),
        _gather(call.key, path.keys, 1).view(1, heads, -1, call.key.shape[-1]),
        _gather(call.value, path.keys, 1).view(1, heads, -1, call.value.shape[-1]),
    )
    output, log_total = attend_densely(path_call, None, flash=flash)
    output = output.transpose(1, 2).reshape(-1, output.shape[-1]).index_select(0, path.place)
    log_total = log_total.transpose(1, 2).reshape(-1).index_select(0, path.place)
    tile_nHD, tile_total_nH = output_RHD[path.rows], log_total_RH[path.rows]
    share_nH = torch.sigmoid(log_total.view_as(tile_total_nH) - tile_total_nH)
    output_RHD[path.rows] = tile_nHD.lerp(output.view_as(tile_nHD), share_nH[..., None].to(tile_nHD.dtype))


def _gather(rows_THD: torch.Tensor, index: torch.Tensor, groups: int) -> torch.Tensor:
    """Return [len(index), groups * D]: the parts of rows that belong to one key head."""
    return rows_THD.view(-1, groups * rows_THD.shape[-1]).index_select(0, index)


def _causal(call: AttentionCall, groups: int) -> Partial:
    """Attend to one unbranched tile; its kernel counts rows, so the stacked heads are taken apart again."""
    n_heads, length = call.query.shape[1], call.key.shape[2]
    query = call.query.view(n_heads, length, groups, -1).transpose(1, 2)
    query = query.reshape(1, n_heads * groups, length, -1)
    key, value = call.key.repeat_interleave(groups, 1), call.value.repeat_interleave(groups, 1)
    output, log_total = flash_kernel(query, key, value, is_causal=True, scale=call.scale)
    output = (
        output.view(1, n_heads, groups, length, -1).transpose(2, 3).reshape(1, n_heads, length * groups, -1)
    )
    log_total = log_total.view(1, n_heads, groups, length).transpose(2, 3)
    return output, log_total.reshape(1, n_heads, length * groups)
