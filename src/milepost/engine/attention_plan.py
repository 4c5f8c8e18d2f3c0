"""Plans the attention of one pack as a few dense calls. Numpy only, without heads and layers.

A row sees its ancestors and itself. These keys come in two parts: those inside the row's tile, which need a
mask, and the tile's path, which all rows of the tile see in full. A short path is added to the tile's own
keys; a long one is attended to in a separate pass, once for all rows below it, and the two results are merged
by their log-sum-exp. Tiles of similar size share a call and are padded to the largest of them.

Shapes: T tokens and C context of the pack (see `plan.packs`), R of its rows as queries (all T but in the
last layer), B tiles in a call, L queries and K keys of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.plan.packs import Pack

    Ints = npt.NDArray[np.int64]

SHORTEST_PATH_PASS = 48
"""A path of fewer keys is added to the tile's own: gathering and merging rows costs about as much."""
SHORTEST_CAUSAL_CALL = 256
"""An unbranched tile of at least this length gets its own causal call, which skips the upper half."""
MAX_PADDING = 1.25
"""The largest ratio of a call's padded area to the sum of its tiles' areas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCall:
    """Queries that attend to keys near them, several tiles at a time."""

    queries: Ints
    """[B, L] 0 .. R - 1; a tile with fewer than L queries repeats its last one."""
    keys: Ints
    """[B, K] key rows; a tile with fewer keys repeats its last one, which `allowed` hides."""
    allowed: npt.NDArray[np.bool_] | None
    """[B, L, K] which query sees which key; None for a plain causal call (then B = 1 and L = K)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPass:
    """Queries that all see the same path in full."""

    queries: Ints
    """[N] 0 .. R - 1, ascending."""
    keys: Ints
    """[P] key rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPlan:
    """The calls of one layer; together they show every query all of its keys exactly once."""

    tile_calls: list[TileCall]
    path_passes: list[PathPass]
    place: Ints
    """[R] place of each query's result among the flattened (B, L) queries of the tile calls in order."""


def plan_attention(
    pack: Pack,
    *,
    rows: Ints | None = None,
    window: int | None = None,
    causal_calls: bool = True,
    cascade: bool = True,
    batch_tiles: bool = True,
) -> AttentionPlan:
    """Return the calls for one pack.

    Args:
        rows: [R] the pack rows that are queries, ascending; None for all.
        window: a row sees only keys less than this many positions before it (transformers'
            `sliding_window`); None for all.
        causal_calls: whether to use the kernel's causal mode for long unbranched tiles.
        cascade: whether long paths get a separate pass. With a window they never do, as few keys are left.
        batch_tiles: whether tiles of similar size share a call.
    """
    rows = np.arange(len(pack)) if rows is None else rows
    first, stop = np.searchsorted(rows, pack.tile_start), np.searchsorted(rows, pack.tile_stop)
    n_queries, length = stop - first, pack.tile_stop - pack.tile_start
    path_length = np.diff(pack.path_starts)[pack.tile_path]
    if window is not None:
        path_length = np.minimum(path_length, window - 1)
    alone = pack.tile_causal & (length >= SHORTEST_CAUSAL_CALL) & causal_calls & (window is None)
    alone &= (cascade | (path_length == 0)) & (n_queries == length)
    separate = (alone | (path_length >= SHORTEST_PATH_PASS)) & (path_length > 0) & cascade & (window is None)
    added = np.where(separate, 0, path_length)

    tiles = _Tiles(pack=pack, rows=rows, first=first, stop=stop, added=added, window=window)
    calls = [tiles.causal_call(k) for k in np.flatnonzero(alone).tolist()]
    for similar in _similar_tiles(n_queries, length + added, ~alone & (n_queries > 0), batch_tiles):
        calls.append(tiles.masked_call(similar))
    return AttentionPlan(
        tile_calls=calls, path_passes=tiles.path_passes(separate), place=_places(len(rows), calls)
    )


def _similar_tiles(
    n_queries: Ints, n_keys: Ints, included: npt.NDArray[np.bool_], together: bool
) -> list[Ints]:
    """Return groups of tiles; each group is padded to its largest tile."""
    order = np.lexsort((n_queries, n_keys))[::-1]
    order = order[included[order]]
    if not together:
        return [order[i : i + 1] for i in range(len(order))]
    groups: list[Ints] = []
    first, area, queries, keys = 0, 0, 0, 0
    for i, (n, k) in enumerate(zip(n_queries[order].tolist(), n_keys[order].tolist(), strict=True)):
        padded = max(queries, n) * max(keys, k) * (i - first + 1)
        if i > first and padded > MAX_PADDING * (area + n * k):
            groups.append(order[first:i])
            first, area, queries, keys = i, 0, 0, 0
        area, queries, keys = area + n * k, max(queries, n), max(keys, k)
    if len(order):
        groups.append(order[first:])
    return groups


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tiles:
    """A pack's tiles and their queries."""

    pack: Pack
    rows: Ints
    """[R] the pack row of each query."""
    first: Ints
    """First query of each tile."""
    stop: Ints
    """First query after each tile."""
    added: Ints
    """Number of keys of each tile's path that are added to its own."""
    window: int | None

    def causal_call(self, tile: int) -> TileCall:
        keys = np.arange(self.pack.tile_start[tile], self.pack.tile_stop[tile]) + len(self.pack.context)
        return TileCall(queries=self._queries(tile)[None], keys=keys[None], allowed=None)

    def masked_call(self, tiles: Ints) -> TileCall:
        pack, n_context = self.pack, len(self.pack.context)
        start, path = pack.tile_start[tiles], self.added[tiles]
        n_queries, n_keys = self.stop[tiles] - self.first[tiles], pack.tile_stop[tiles] - start + path
        nth_query = np.minimum(np.arange(n_queries.max()), n_queries[:, None] - 1)
        queries = self.first[tiles][:, None] + nth_query
        rows = self.rows[queries]
        nth = np.arange(n_keys.max())
        keys = n_context + start[:, None] + np.minimum(nth, n_keys[:, None] - 1) - path[:, None]
        path_stop = pack.path_starts[pack.tile_path[tiles] + 1]
        in_path = nth < path[:, None]
        keys[in_path] = pack.path_rows[(path_stop[:, None] - path[:, None] + nth)[in_path]]
        own_row = keys - n_context
        allowed = own_row[:, None, :] <= rows[:, :, None]
        allowed &= rows[:, :, None] < pack.key_end[keys][:, None, :]
        allowed &= (nth < n_keys[:, None])[:, None, :]
        if self.window is not None:
            key_position = np.concatenate([np.arange(n_context), pack.positions])[keys]
            allowed &= pack.positions[rows][:, :, None] - key_position[:, None, :] < self.window
        return TileCall(queries=queries, keys=keys, allowed=allowed)

    def path_passes(self, separate: npt.NDArray[np.bool_]) -> list[PathPass]:
        pack, passes = self.pack, []
        for path in np.unique(pack.tile_path[separate]).tolist():
            tiles = np.flatnonzero(separate & (pack.tile_path == path)).tolist()
            queries = np.concatenate([self._queries(tile) for tile in tiles])
            if len(queries):
                keys = pack.path_rows[pack.path_starts[path] : pack.path_starts[path + 1]]
                passes.append(PathPass(queries=queries, keys=keys))
        return passes

    def _queries(self, tile: int) -> Ints:
        return np.arange(self.first[tile], self.stop[tile])


def _places(n_queries: int, calls: list[TileCall]) -> Ints:
    place = np.empty(n_queries, dtype=np.int64)
    done = 0
    for call in calls:
        flat = call.queries.ravel()  # a query repeated as padding has the same result at every place
        place[flat] = done + np.arange(len(flat))
        done += len(flat)
    return place
