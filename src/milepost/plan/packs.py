"""Cut the depth-first layout of a prefix tree into packs: node ranges, each computed in one forward pass.

Uses the tree and its tiles, not torch. Because the layout is depth-first, a range needs from outside only the
ancestors of its first node, its **context**: one path, whose keys and values the engine keeps from the pack
before. So every token is computed exactly once wherever the layout is cut, a pack that does not fit into
memory can be cut again, and the cache kept between packs is never longer than the model's context.

The keys of a pack are numbered as rows: the C context nodes from the root down, then the T tokens of the
pack. A query row q (0 .. T - 1) sees key row r if `(r - C <= q) & (q < key_end[r])`.

Shapes: T tokens, C context, K tiles, P paths, M rows with logits, J predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from milepost.plan.tree import ancestors

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.plan.tiles import Tiles
    from milepost.plan.tree import Tree

    Ints = npt.NDArray[np.int64]


class Span(NamedTuple):
    """A range of nodes, `start` to `stop` (exclusive)."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Inputs of one forward pass: tokens, attention mask, and the rows whose logits are wanted."""

    span: Span
    """The nodes that the pack computes."""
    tokens: npt.NDArray[np.int64]
    """[T] token ids."""
    positions: npt.NDArray[np.int64]
    """[T] position of each token in its sequences."""
    context: npt.NDArray[np.int64]
    """[C] the nodes above the first one, from the root down; their keys and values must be cached."""
    key_end: npt.NDArray[np.int64]
    """[C + T] the first query row that does not see this key any more, 0 .. T."""
    keep: npt.NDArray[np.int64]
    """Key rows that are the context of the pack that starts where this one stops, from the root down."""
    tile_start: npt.NDArray[np.int64]
    """[K] first row of each tile; the tiles cover all rows in order."""
    tile_stop: npt.NDArray[np.int64]
    """[K] first row after each tile."""
    tile_causal: npt.NDArray[np.bool_]
    """[K] True if plain causal attention is right inside the tile; else `key_end` gives the mask."""
    tile_path: npt.NDArray[np.int64]
    """[K] the path, 0 .. P - 1, that all rows of the tile attend to in full."""
    path_starts: npt.NDArray[np.int64]
    """[P + 1] path p is `path_rows[path_starts[p]:path_starts[p + 1]]`."""
    path_rows: npt.NDArray[np.int64]
    """Key rows of the paths, from the root down."""
    needed: npt.NDArray[np.int64]
    """[M] rows whose logits are wanted, ascending."""
    target_row: npt.NDArray[np.int64]
    """[J] index into `needed`, ascending."""
    target: npt.NDArray[np.int64]
    """[J] token id whose log-probability is wanted in that row."""
    sequence: npt.NDArray[np.int64]
    """[J] the sequence of the target. The targets of a sequence may be in several packs: add them up."""

    def __len__(self) -> int:
        return len(self.tokens)


def cut_packs(tree: Tree, tiles: Tiles, budget: int, *, aligned: bool = True) -> list[Span]:
    """Cut the layout into ranges of at most `budget` tokens, in the order in which they must run.

    Args:
        tree: the prefix tree.
        tiles: the tiles of the tree.
        budget: tokens per pack.
        aligned: do not cut a branching tile (unless it is larger than a pack). If False, every pack but the
            last has exactly `budget` tokens.

    Raises:
        ValueError: `budget` is not positive.
    """
    if budget < 1:
        raise ValueError(f"a pack needs at least one token, not {budget}")
    spans: list[Span] = []
    start, total = 0, len(tree)
    while start < total:
        stop = min(start + budget, total)
        if aligned and stop < total:
            stop = _align(tiles, start, stop)
        spans.append(Span(start, stop))
        start = stop
    return spans


def make_pack(tree: Tree, tiles: Tiles, span: Span) -> Pack:
    """Build the inputs of a forward pass over the nodes of `span`."""
    start, stop = span
    context = ancestors(tree, start)
    n_context, n_tokens = len(context), stop - start
    ends = np.concatenate([tree.end[context], tree.end[start:stop]])
    tile_start, tile_stop, tile_causal, parent = _clip_tiles(tree, tiles, span)
    _, first, tile_path = np.unique(parent, return_index=True, return_inverse=True)
    paths = [
        np.flatnonzero(ends[: n_context + tile_start[k] - start] > tile_start[k]) for k in first.tolist()
    ]
    wanted = slice(*np.searchsorted(tree.wanted_node, [start, stop]).tolist())
    needed, target_row = np.unique(tree.wanted_node[wanted] - start, return_inverse=True)
    return Pack(
        span=span,
        tokens=tree.tokens[start:stop].astype(np.int64),
        positions=tree.pos[start:stop].astype(np.int64),
        context=context,
        key_end=np.clip(ends - start, 0, n_tokens),
        keep=np.flatnonzero(ends > stop),
        tile_start=tile_start - start,
        tile_stop=tile_stop - start,
        tile_causal=tile_causal,
        tile_path=tile_path,
        path_starts=np.cumsum([0] + [len(path) for path in paths]),
        path_rows=np.concatenate(paths) if paths else np.empty(0, np.int64),
        needed=needed,
        target_row=target_row,
        target=tree.wanted_token[wanted].astype(np.int64),
        sequence=tree.wanted_sequence[wanted],
    )


def halves(span: Span) -> tuple[Span, Span]:
    """Split a span that does not fit into memory into two.

    Raises:
        ValueError: the span has a single token.
    """
    if span.stop - span.start < 2:
        raise ValueError("a pack of one token cannot be halved")
    middle = (span.start + span.stop) // 2
    return Span(span.start, middle), Span(middle, span.stop)


def _align(tiles: Tiles, start: int, stop: int) -> int:
    """Return the last cut up to `stop` that does not split a branching tile, or `stop` if every cut does."""
    tile = int(np.searchsorted(tiles.start, stop, side="right")) - 1
    if tiles.causal[tile]:
        return stop
    boundary = int(tiles.start[tile])
    return boundary if boundary > start else stop


def _clip_tiles(tree: Tree, tiles: Tiles, span: Span) -> tuple[Ints, Ints, npt.NDArray[np.bool_], Ints]:
    """Return (start, stop, causal, parent) [K] of the tiles inside `span`, as node numbers."""
    start, stop = span
    first = int(np.searchsorted(tiles.start, start, side="left"))
    last = int(np.searchsorted(tiles.start, stop, side="left"))
    whole = min(int(tiles.start[first]), stop)
    # If the pack starts inside a tile, the rest of that tile is a list of subtrees, each with its own path.
    rest = _subtrees(tree, start, whole)
    rest_parent = [int(above[-1]) if len(above := ancestors(tree, node)) else -1 for node in rest]
    begin = np.concatenate([np.array(rest, np.int64), tiles.start[first:last]])
    end = np.append(begin[1:], stop) if len(begin) else begin
    parent = np.concatenate([np.array(rest_parent, np.int64), tiles.parent[first:last]])
    inside = np.searchsorted(tree.segment_start, begin, side="right")
    causal = np.searchsorted(tree.segment_start, end, side="left") == inside
    return begin, end, causal, parent


def _subtrees(tree: Tree, start: int, stop: int) -> list[int]:
    """Return the first nodes of the largest subtrees that together are `start:stop`."""
    heads: list[int] = []
    while start < stop:
        heads.append(start)
        start = int(tree.end[start])
    return heads
