"""Cut the prefix tree into trunks and tiles: ranges of nodes that attend to the same ancestors.

A **trunk** is a long segment with many nodes below it; a **tile** is a small subtree, as large as allowed.
Both are contiguous in the depth-first layout, and all their nodes see all ancestors of the first node (the
*path*). So attention is dense over the path and needs a mask only inside the tile.

Shapes: K tiles (including trunks), S segments, U nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.plan.tree import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """A partition of the nodes into tiles and trunks, in order."""

    start: npt.NDArray[np.int64]
    """[K + 1] tile k is `start[k]:start[k + 1]`."""
    parent: npt.NDArray[np.int64]
    """[K] the parent node of the tile; -1 at the root. The path is that node and its ancestors."""
    trunk: npt.NDArray[np.bool_]
    """[K] True for a trunk: other tiles hang below it."""
    causal: npt.NDArray[np.bool_]
    """[K] True if the tile is one unbranched run of tokens: plain causal attention is right inside."""

    def __len__(self) -> int:
        return len(self.parent)


def cut_tiles(tree: Tree, *, tile_tokens: int = 512, join_tokens: int = 64) -> Tiles:
    """Cut the tree into trunks and tiles.

    Args:
        tree: the prefix tree.
        tile_tokens: a subtree larger than this gets a trunk. A long run without branches below is a tile.
        join_tokens: neighbouring tiles of one parent are joined up to this size, because a call of an
            attention kernel costs more than masking a few tokens.
    """
    start, up = tree.segment_start[:-1], tree.segment_parent
    stop, end = tree.segment_start[1:], tree.segment_end
    trunk = (end - start > tile_tokens) & (end > stop)
    top = trunk | (up < 0) | trunk[up]
    first = np.flatnonzero(top)
    parent = np.where(up[first] < 0, -1, stop[up[first]] - 1)
    heads = _join(
        start[first], np.where(trunk[first], stop[first], end[first]), parent, trunk[first], join_tokens
    )
    n_segments = np.diff(np.append(first[heads], len(start)))
    return Tiles(
        start=np.append(start[first[heads]], len(tree)),
        parent=parent[heads],
        trunk=trunk[first[heads]],
        causal=n_segments == 1,
    )


def _join(
    start: npt.NDArray[np.int64],
    stop: npt.NDArray[np.int64],
    parent: npt.NDArray[np.int64],
    trunk: npt.NDArray[np.bool_],
    join_tokens: int,
) -> npt.NDArray[np.int64]:
    """Return the ranges that begin a tile; the other ranges are joined to the one before."""
    heads: list[int] = []
    head_start, head_parent = 0, -2
    for i, (a, b, p, alone) in enumerate(
        zip(start.tolist(), stop.tolist(), parent.tolist(), trunk.tolist(), strict=True)
    ):
        if alone:
            heads.append(i)
            head_parent = -2
        elif p != head_parent or b - head_start > join_tokens:
            heads.append(i)
            head_start, head_parent = a, p
    return np.array(heads, np.int64)
