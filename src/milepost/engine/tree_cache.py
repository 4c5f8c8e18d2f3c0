"""The trees of what was scored last: every checkpoint is asked the same, so the next finds them laid out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from milepost.engine.optimizations import build_unshared_tree
from milepost.plan.tiles import cut_tiles
from milepost.plan.tree import build_tree

if TYPE_CHECKING:
    from milepost.plan.tiles import Tiles
    from milepost.plan.tree import Tree
    from milepost.types import Sequences

TILE_TOKENS = 256
KEPT_NODES = 16_000_000
"""Eight times MMLU 5-shot, and about 20 bytes each."""


class Layout(NamedTuple):
    """Unique tokens in the order in which they run, and which stretches of them attend alike."""

    tree: Tree
    tiles: Tiles


class TreeCache:
    """Lays sequences out, and remembers it for as long as the same object may come again."""

    def __init__(self, *, share_prefixes: bool) -> None:
        self._build = build_tree if share_prefixes else build_unshared_tree
        self._trees: dict[int, tuple[Sequences, Tree]] = {}
        self._layouts: dict[int, Layout] = {}
        self._n_nodes = 0

    def tree_of(self, sequences: Sequences) -> Tree:
        """The tree of these sequences; that of the same object is made once.

        An entry holds its sequences, so that no other object can come to have their identity.
        """
        kept = self._trees.get(id(sequences))
        if kept is not None:
            return kept[1]
        tree = self._build(sequences)
        if self._n_nodes + len(tree) > KEPT_NODES:
            self._trees.clear()
            self._layouts.clear()
            self._n_nodes = 0
        self._trees[id(sequences)] = sequences, tree
        self._n_nodes += len(tree)
        return tree

    def of(self, sequences: Sequences) -> Layout:
        """The same with its tiles."""
        tree = self.tree_of(sequences)
        if id(sequences) not in self._layouts:
            self._layouts[id(sequences)] = Layout(tree, cut_tiles(tree, tile_tokens=TILE_TOKENS))
        return self._layouts[id(sequences)]
