"""Join shards into one stream of full packs, however small the shards are.

Each shard keeps the prefix tree that it has when it is scored alone. A pack takes the rest of one shard and
goes on with the next. Its first tokens may hang below nodes of the pack before it (its context, as in
`packs`); those of other shards start at the root. Shards are taken in order, when a pack has room.

Shapes: T tokens, C context, M rows with logits, J predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from milepost.plan.tree import ancestors

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.plan.tree import Tree
    from milepost.types.sequences import Sequences

    Ints = npt.NDArray[np.int64]


class Piece(NamedTuple):
    """A range of nodes of one shard."""

    shard: int
    """Number of the shard in the stream, from 0."""
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedPack:
    """Inputs of one forward pass over pieces of shards; rows and keys are numbered as in `packs.Pack`."""

    pieces: tuple[Piece, ...]
    sequences: tuple[Sequences, ...]
    """The shard of each piece."""
    tokens: npt.NDArray[np.int32]
    """[T]"""
    positions: npt.NDArray[np.int32]
    """[T]"""
    n_context: int
    key_end: npt.NDArray[np.int32]
    """[C + T] the first row that does not see this key any more, 0 .. T."""
    keep: npt.NDArray[np.int32]
    """Key rows that are the context of the next pack, from the root down."""
    needed: npt.NDArray[np.int32]
    """[M] rows whose logits are wanted, ascending."""
    target_row: Ints
    """[J] index into `needed`, ascending."""
    target: Ints
    """[J] token id whose log-probability is wanted in that row."""
    sequence: Ints
    """[J] the sequence of the target, as numbered in its shard."""
    shard: Ints
    """[J] number of that shard in the stream."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(slots=True)
class _Open:
    sequences: Sequences
    tree: Tree


class ShardStream:
    """Cuts shards into packs one by one; can go back to a pack that must run again."""

    def __init__(
        self,
        shards: Iterator[Sequences],
        tree_of: Callable[[Sequences], Tree],
        *,
        every_row: bool = False,
    ) -> None:
        """Start a stream; `every_row` asks for logits at every token, with or without a target."""
        self._shards = shards
        self._tree_of = tree_of
        self._every_row = every_row
        self._open: dict[int, _Open] = {}
        self._n_taken = 0
        self._shard, self._node = 0, 0

    def n_sequences(self, shard: int) -> int:
        """Return the number of sequences of an open shard."""
        return len(self._open[shard].sequences)

    def n_nodes(self, shard: int) -> int:
        """Return the number of tree nodes of an open shard."""
        return len(self._open[shard].tree)

    def close(self, shard: int) -> None:
        """Drop a shard that is scored."""
        del self._open[shard]

    def unfinished(self) -> Iterator[Sequences]:
        """Yield the open shards, then all shards that were not taken yet."""
        opened = [self._open[shard].sequences for shard in sorted(self._open)]
        self._open.clear()
        yield from opened
        yield from self._shards

    def go_back(self, pack: JoinedPack) -> None:
        """Make the next pack begin where `pack` does."""
        self._shard, self._node = pack.pieces[0].shard, pack.pieces[0].start

    def next_pack(self, budget: int) -> JoinedPack | None:
        """Return the next pack of `budget` tokens (fewer only at the end); None if no shard is left.

        A shard without tokens is a piece as well, so that its end is noticed.
        """
        pieces: list[Piece] = []
        room = budget
        while room > 0 and self._has(self._shard):
            stop = min(self._node + room, self.n_nodes(self._shard))
            pieces.append(Piece(self._shard, self._node, stop))
            room -= stop - self._node
            self._node = stop
            if stop == self.n_nodes(self._shard):
                self._shard, self._node = self._shard + 1, 0
        return self._pack(pieces) if pieces else None

    def _has(self, shard: int) -> bool:
        if shard < self._n_taken:
            return True
        sequences = next(self._shards, None)
        if sequences is None:
            return False
        self._open[self._n_taken] = _Open(sequences, self._tree_of(sequences))
        self._n_taken += 1
        return True

    def _pack(self, pieces: list[Piece]) -> JoinedPack:
        first = self._open[pieces[0].shard].tree
        context = ancestors(first, pieces[0].start)
        n_tokens = sum(piece.stop - piece.start for piece in pieces)
        last_tree, last = self._open[pieces[-1].shard].tree, pieces[-1]
        parts = [_part(self._open[piece.shard].tree, piece, self._every_row) for piece in pieces]
        offset = np.cumsum([0] + [len(part.tokens) for part in parts])
        row_offset = np.cumsum([0] + [len(part.needed) for part in parts])
        ends = [np.clip(first.end[context] - pieces[0].start, 0, n_tokens)]
        ends += [np.clip(part.end, 0, len(part.tokens)) + at for part, at in zip(parts, offset, strict=False)]
        # Only the first piece has nodes above it, and only the last piece is continued in the next pack.
        above = first.end[context] > last.stop if len(pieces) == 1 else np.zeros(len(context), np.bool_)
        kept = np.flatnonzero(last_tree.end[last.start : last.stop] > last.stop) + len(context) + offset[-2]
        return JoinedPack(
            pieces=tuple(pieces),
            sequences=tuple(self._open[piece.shard].sequences for piece in pieces),
            tokens=np.concatenate([part.tokens for part in parts]),
            positions=np.concatenate([part.positions for part in parts]),
            n_context=len(context),
            key_end=np.concatenate(ends).astype(np.int32),
            keep=np.concatenate([np.flatnonzero(above), kept]).astype(np.int32),
            needed=np.concatenate([part.needed + at for part, at in zip(parts, offset, strict=False)]).astype(
                np.int32
            ),
            target_row=np.concatenate(
                [part.target_row + at for part, at in zip(parts, row_offset, strict=False)]
            ),
            target=np.concatenate([part.target for part in parts]),
            sequence=np.concatenate([part.sequence for part in parts]),
            shard=np.repeat([piece.shard for piece in pieces], [len(part.target) for part in parts]),
        )


class _Part(NamedTuple):
    """The part of a pack that comes from one piece; rows are counted from the piece's first row."""

    tokens: npt.NDArray[np.int32]
    positions: npt.NDArray[np.int32]
    end: Ints
    needed: Ints
    target_row: Ints
    target: Ints
    sequence: Ints


def _part(tree: Tree, piece: Piece, every_row: bool) -> _Part:
    start, stop = piece.start, piece.stop
    wanted = slice(*np.searchsorted(tree.wanted_node, [start, stop]).tolist())
    if every_row:
        needed, target_row = np.arange(stop - start), tree.wanted_node[wanted] - start
    else:
        needed, target_row = np.unique(tree.wanted_node[wanted] - start, return_inverse=True)
    return _Part(
        tokens=tree.tokens[start:stop],
        positions=tree.pos[start:stop],
        end=tree.end[start:stop] - start,
        needed=needed,
        target_row=target_row,
        target=tree.wanted_token[wanted].astype(np.int64),
        sequence=tree.wanted_sequence[wanted],
    )
