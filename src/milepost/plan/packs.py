"""Packs: contiguous ranges of the depth-first layout, each computed in one forward pass.

Knows the tree and its tiles; nothing about torch. Because the layout is depth-first, a range needs from
outside only the ancestors of its first node, its **context**: one path, whose keys and values the engine
keeps from the pack before. So every token is computed exactly once however the layout is cut, a pack that
does not fit into memory can be cut again, and what is kept between packs is never longer than the model's
context.

The keys of a pack are numbered as rows: the C context nodes from the top down, then its own T tokens. A
query row q (0 .. T - 1) sees key row r where `(r - C <= q) & (q < key_end[r])`.

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
    """A range of nodes."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """One forward pass: what goes in, who sees whom, which logits are wanted."""

    span: Span
    """The nodes it computes."""
    tokens: npt.NDArray[np.int64]
    """[T] token ids."""
    positions: npt.NDArray[np.int64]
    """[T] position of each token in its sequences."""
    context: npt.NDArray[np.int64]
    """[C] the nodes above the first one, from the top down; their keys and values must be at hand."""
    key_end: npt.NDArray[np.int64]
    """[C + T] the first query row that no longer sees this key, 0 .. T."""
    keep: npt.NDArray[np.int64]
    """key rows that are the context of the pack that starts where this one stops, from the top down."""
    tile_start: npt.NDArray[np.int64]
    """[K] first row of each tile; the tiles cover all rows in order."""
    tile_stop: npt.NDArray[np.int64]
    """[K] first row after it."""
    tile_causal: npt.NDArray[np.bool_]
    """[K] whether plain causal attention is right inside the tile; else `key_end` gives the mask."""
    tile_path: npt.NDArray[np.int64]
    """[K] the path, 0 .. P - 1, that all rows of the tile see in full."""
    path_starts: npt.NDArray[np.int64]
    """[P + 1] path p is `path_rows[path_starts[p]:path_starts[p + 1]]`."""
    path_rows: npt.NDArray[np.int64]
    """key rows, from the top down."""
    needed: npt.NDArray[np.int64]
    """[M] rows whose logits are wanted, ascending."""
    target_row: npt.NDArray[np.int64]
    """[J] index into `needed`, ascending."""
    target: npt.NDArray[np.int64]
    """[J] token id whose log-probability is wanted there."""
    sequence: npt.NDArray[np.int64]
    """[J] the sequence it counts for. A sequence's targets may lie in several packs: add them up."""

    def __len__(self) -> int:
        return len(self.tokens)


def cut_packs(tree: Tree, tiles: Tiles, budget: int, *, aligned: bool = True) -> list[Span]:
    """Cut the layout into ranges of at most `budget` tokens, in the order in which they must run.

    Args:
        tree: the tree.
        tiles: its tiles.
        budget: tokens per pack.
        aligned: cut no branching tile (unless it is larger than a pack). Else every pack but the last has
            exactly `budget` tokens.

    Raises:
        ValueError: if `budget` is not positive.
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
    """Everything a forward pass over the nodes of `span` needs."""
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
    """The two packs to try in place of one that does not fit into memory.

    Raises:
        ValueError: if the span has a single token.
    """
    if span.stop - span.start < 2:
        raise ValueError("a pack of one token cannot be halved")
    middle = (span.start + span.stop) // 2
    return Span(span.start, middle), Span(middle, span.stop)


def _align(tiles: Tiles, start: int, stop: int) -> int:
    """The last cut at or before `stop` that splits no branching tile; `stop` where there is none."""
    tile = int(np.searchsorted(tiles.start, stop, side="right")) - 1
    if tiles.causal[tile]:
        return stop
    boundary = int(tiles.start[tile])
    return boundary if boundary > start else stop


def _clip_tiles(tree: Tree, tiles: Tiles, span: Span) -> tuple[Ints, Ints, npt.NDArray[np.bool_], Ints]:
    """(start, stop, causal, parent) [K] of the tiles within `span`, as nodes."""
    start, stop = span
    first = int(np.searchsorted(tiles.start, start, side="left"))
    last = int(np.searchsorted(tiles.start, stop, side="left"))
    whole = min(int(tiles.start[first]), stop)
    # A pack that starts inside a tile: what remains are subtrees, each with its own path.
    rest = _subtrees(tree, start, whole)
    rest_parent = [int(above[-1]) if len(above := ancestors(tree, node)) else -1 for node in rest]
    begin = np.concatenate([np.array(rest, np.int64), tiles.start[first:last]])
    end = np.append(begin[1:], stop) if len(begin) else begin
    parent = np.concatenate([np.array(rest_parent, np.int64), tiles.parent[first:last]])
    inside = np.searchsorted(tree.segment_start, begin, side="right")
    causal = np.searchsorted(tree.segment_start, end, side="left") == inside
    return begin, end, causal, parent


def _subtrees(tree: Tree, start: int, stop: int) -> list[int]:
    """First nodes of the largest subtrees that make up `start:stop`."""
    heads: list[int] = []
    while start < stop:
        heads.append(start)
        start = int(tree.end[start])
    return heads
