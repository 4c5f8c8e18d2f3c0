"""What has to be computed for the attention of one pack: a few dense calls. Numpy; no heads, no layers.

Every row's keys are its ancestors and itself. They come in two parts: those inside the row's tile, which
need a mask, and the tile's path, which all rows of the tile see in full. A short path joins the tile's own
keys; a long one is attended to in a pass of its own, once for all rows below it, and the two results are
merged by their log-sum-exp. Tiles of similar size share a call, padded only there.

Shapes: T tokens and C context of the pack (see `plan.packs`), B tiles in a call, L rows and K keys of each.
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
"""A path of fewer keys joins the tile's own: gathering and merging rows costs about as much."""
SHORTEST_CAUSAL_CALL = 256
"""An unbranched tile at least this long goes alone, into a causal kernel that skips the upper half."""
MOST_PADDING = 1.25
"""How much larger a call's padded area may be than the sum of its tiles' areas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCall:
    """Rows that attend to keys near them, several tiles at a time."""

    rows: Ints
    """[B, L] pack rows; a tile shorter than L repeats its last row."""
    keys: Ints
    """[B, K] key rows; a tile with fewer keys repeats its last one, which `allowed` hides."""
    allowed: npt.NDArray[np.bool_] | None
    """[B, L, K] which row sees which key; None where it is plain causal (then B = 1 and L = K)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPass:
    """Rows that all see the same path in full."""

    rows: Ints
    """[N] pack rows, ascending."""
    keys: Ints
    """[P] key rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPlan:
    """The calls of one layer; together they give every row all of its keys exactly once."""

    tile_calls: list[TileCall]
    path_passes: list[PathPass]
    place: Ints
    """[T] where each pack row's result stands among the flattened (B, L) rows of the tile calls in order."""


def plan_attention(
    pack: Pack,
    *,
    window: int | None = None,
    causal_calls: bool = True,
    cascade: bool = True,
    batch_tiles: bool = True,
) -> AttentionPlan:
    """The calls for one pack.

    Args:
        pack: the pack.
        window: a row sees only keys less than this many positions before it (transformers'
            `sliding_window`); None for all.
        causal_calls: whether the kernel has a causal mode to be used for long unbranched tiles.
        cascade: whether long paths get a pass of their own. With a window they never do: few keys are left.
        batch_tiles: whether tiles of similar size share a call.
    """
    length = pack.tile_stop - pack.tile_start
    path_length = np.diff(pack.path_starts)[pack.tile_path]
    if window is not None:
        path_length = np.minimum(path_length, window - 1)
    alone = pack.tile_causal & (length >= SHORTEST_CAUSAL_CALL) & causal_calls & (window is None)
    alone &= cascade | (path_length == 0)
    apart = (alone | (path_length >= SHORTEST_PATH_PASS)) & (path_length > 0) & cascade & (window is None)
    joined = np.where(apart, 0, path_length)

    calls = [_causal_call(pack, k) for k in np.flatnonzero(alone).tolist()]
    for tiles in _similar_tiles(length, length + joined, ~alone, batch_tiles):
        calls.append(_masked_call(pack, tiles, joined, window))
    return AttentionPlan(
        tile_calls=calls,
        path_passes=_path_passes(pack, apart),
        place=_places(len(pack), calls),
    )


def _similar_tiles(length: Ints, n_keys: Ints, included: npt.NDArray[np.bool_], together: bool) -> list[Ints]:
    """Groups of tiles to be padded to the largest of each group."""
    order = np.lexsort((length, n_keys))[::-1]
    order = order[included[order]]
    if not together:
        return [order[i : i + 1] for i in range(len(order))]
    groups: list[Ints] = []
    first, area, rows, keys = 0, 0, 0, 0
    for i, (n, k) in enumerate(zip(length[order].tolist(), n_keys[order].tolist(), strict=True)):
        padded = max(rows, n) * max(keys, k) * (i - first + 1)
        if i > first and padded > MOST_PADDING * (area + n * k):
            groups.append(order[first:i])
            first, area, rows, keys = i, 0, 0, 0
        area, rows, keys = area + n * k, max(rows, n), max(keys, k)
    if len(order):
        groups.append(order[first:])
    return groups


def _causal_call(pack: Pack, tile: int) -> TileCall:
    rows = np.arange(pack.tile_start[tile], pack.tile_stop[tile])
    return TileCall(rows=rows[None], keys=rows[None] + len(pack.context), allowed=None)


def _masked_call(pack: Pack, tiles: Ints, joined: Ints, window: int | None) -> TileCall:
    n_context = len(pack.context)
    start, stop, path = pack.tile_start[tiles], pack.tile_stop[tiles], joined[tiles]
    n_rows, n_keys = stop - start, stop - start + path
    rows = start[:, None] + np.minimum(np.arange(n_rows.max()), n_rows[:, None] - 1)
    nth = np.arange(n_keys.max())
    keys = n_context + start[:, None] + np.minimum(nth, n_keys[:, None] - 1) - path[:, None]
    path_stop = pack.path_starts[pack.tile_path[tiles] + 1]
    in_path = nth < path[:, None]
    keys[in_path] = pack.path_rows[(path_stop[:, None] - path[:, None] + nth)[in_path]]
    own_row = keys - n_context
    allowed = (own_row[:, None, :] <= rows[:, :, None]) & (rows[:, :, None] < pack.key_end[keys][:, None, :])
    allowed &= (nth < n_keys[:, None])[:, None, :]
    if window is not None:
        key_position = np.concatenate([np.arange(n_context), pack.positions])[keys]
        allowed &= pack.positions[rows][:, :, None] - key_position[:, None, :] < window
    return TileCall(rows=rows, keys=keys, allowed=allowed)


def _path_passes(pack: Pack, apart: npt.NDArray[np.bool_]) -> list[PathPass]:
    passes = []
    for path in np.unique(pack.tile_path[apart]).tolist():
        tiles = np.flatnonzero(apart & (pack.tile_path == path)).tolist()
        rows = np.concatenate([np.arange(pack.tile_start[k], pack.tile_stop[k]) for k in tiles])
        keys = pack.path_rows[pack.path_starts[path] : pack.path_starts[path + 1]]
        passes.append(PathPass(rows=rows, keys=keys))
    return passes


def _places(n_tokens: int, calls: list[TileCall]) -> Ints:
    place = np.empty(n_tokens, dtype=np.int64)
    done = 0
    for call in calls:
        flat = call.rows.ravel()  # a row repeated as padding has the same result wherever it stands
        place[flat] = done + np.arange(len(flat))
        done += len(flat)
    return place
