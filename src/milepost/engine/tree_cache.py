"""Keeps the prefix trees of the last shards: every checkpoint scores the same, so the next one finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from milepost.engine.optimizations import build_unshared_tree
from milepost.plan.tiles import cut_tiles
from milepost.plan.tree import build_tree

if TYPE_CHECKING:
    from milepost.plan.tiles import Tiles
    from milepost.plan.tree import Tree
    from milepost.types.sequences import Sequences

TILE_TOKENS = 256
KEPT_NODES = 16_000_000
"""Eight times MMLU 5-shot, and about 20 bytes each."""


class TiledTree(NamedTuple):
    """A prefix tree and the ranges of it that attend alike."""

    tree: Tree
    tiles: Tiles


class TreeCache:
    """Builds the tree of a shard once for as long as the same object may come again."""

    def __init__(self, *, share_prefixes: bool) -> None:
        self._build = build_tree if share_prefixes else build_unshared_tree
        self._trees: dict[int, tuple[Sequences, Tree]] = {}
        self._tiled: dict[int, TiledTree] = {}
        self._n_nodes = 0

    def tree_of(self, sequences: Sequences) -> Tree:
        """Return the tree of these sequences.

        An entry holds its sequences, so that their id cannot become that of another object.
        """
        kept = self._trees.get(id(sequences))
        if kept is not None:
            return kept[1]
        tree = self._build(sequences)
        if self._n_nodes + len(tree) > KEPT_NODES:
            self._trees.clear()
            self._tiled.clear()
            self._n_nodes = 0
        self._trees[id(sequences)] = sequences, tree
        self._n_nodes += len(tree)
        return tree

    def tiled(self, sequences: Sequences) -> TiledTree:
        """Return the tree of these sequences with its tiles."""
        tree = self.tree_of(sequences)
        if id(sequences) not in self._tiled:
            self._tiled[id(sequences)] = TiledTree(tree, cut_tiles(tree, tile_tokens=TILE_TOKENS))
        return self._tiled[id(sequences)]
