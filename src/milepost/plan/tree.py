"""Build the prefix tree over token sequences, laid out depth-first in flat arrays.

A **node** is one unique token: one prefix of at least one model input. Nodes are numbered depth-first, so
the nodes below node k are exactly `k + 1 .. end[k] - 1`. Two facts follow, and attention needs no more: node
q sees node k if `(k <= q) & (q < end[k])`, and the ancestors of node b are `{k < b : end[k] > b}`, in order
of depth.

Shapes: N sequences, U unique tokens (nodes), S segments, J wanted predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.types.sequences import Sequences

    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Unique tokens, their positions, and the predictions that are wanted at each."""

    tokens: npt.NDArray[np.int32]
    """[U] token id of each node."""
    pos: npt.NDArray[np.int32]
    """[U] depth of each node: its position in each of its sequences, from 0."""
    end: npt.NDArray[np.int64]
    """[U] the first node after this node's subtree."""
    segment_start: npt.NDArray[np.int64]
    """[S + 1] segment s, a longest run without a branch, is `segment_start[s]:segment_start[s + 1]`."""
    segment_parent: npt.NDArray[np.int64]
    """[S] the segment whose last node is the parent of this one; -1 at the root."""
    wanted_node: npt.NDArray[np.int64]
    """[J] the node whose logits predict the target, ascending; targets of one node by sequence."""
    wanted_token: npt.NDArray[np.int32]
    """[J] the target."""
    wanted_sequence: npt.NDArray[np.int64]
    """[J] the sequence of the target, as numbered in `Sequences`."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def segment_end(self) -> npt.NDArray[np.int64]:
        """[S] the first node after the subtree of each segment."""
        return self.end[self.segment_start[:-1]]


@dataclass(frozen=True, slots=True)
class _Runs:
    """The run of tokens that each sequence, in lexicographic order, adds to the tree."""

    order: Ints
    """[N] index into `Sequences`."""
    length: Ints
    """[N] tokens of the model input."""
    shared: Ints
    """[N] how many of them are shared with the sequence before; the run is the rest."""

    @property
    def offset(self) -> Ints:
        """[N + 1] node of each run's first token."""
        return np.concatenate([[0], np.cumsum(self.length - self.shared)])


def build_tree(sequences: Sequences) -> Tree:
    """Build the tree over the inputs (all tokens but the last) of `sequences`.

    Linear in tokens apart from the sort. Only `wanted_sequence` depends on the order of the sequences.
    """
    assert (sequences.n_targets < np.diff(sequences.starts)).all(), "a sequence's first token has no input"
    runs = _sorted_runs(sequences)
    offset = runs.offset
    parent = _parent_runs(runs.shared, runs.length)
    segment_start, segment_parent, segment_end = _segments(runs, offset, parent)
    run_length = np.diff(offset)
    wanted_node, wanted_token, wanted_sequence = _wanted(sequences, runs, offset, parent)
    return Tree(
        tokens=_gather(sequences, runs),
        pos=(np.arange(offset[-1]) + np.repeat(runs.shared - offset[:-1], run_length)).astype(np.int32),
        end=np.repeat(segment_end, np.diff(segment_start)),
        segment_start=segment_start,
        segment_parent=segment_parent,
        wanted_node=wanted_node,
        wanted_token=wanted_token,
        wanted_sequence=wanted_sequence,
    )


def ancestors(tree: Tree, node: int) -> npt.NDArray[np.int64]:
    """Return [pos] the nodes above `node`, from the root down; empty for `node == len(tree)`."""
    if node == len(tree):
        return np.empty(0, np.int64)
    segment = int(np.searchsorted(tree.segment_start, node, side="right")) - 1
    pieces = [np.arange(tree.segment_start[segment], node)]
    while (segment := int(tree.segment_parent[segment])) >= 0:
        pieces.append(np.arange(tree.segment_start[segment], tree.segment_start[segment + 1]))
    return np.concatenate(pieces[::-1])


def _sorted_runs(sequences: Sequences) -> _Runs:
    starts = sequences.starts.tolist()
    # Big-endian bytes compare like the token ids they hold, and Python sorts bytes with memcmp.
    big_endian = sequences.tokens.astype(">u4").tobytes()
    inputs = [big_endian[4 * a : 4 * (b - 1)] for a, b in pairwise(starts)]
    order = sorted(range(len(inputs)), key=inputs.__getitem__)
    shared = [0] * len(order)
    for i in range(1, len(order)):
        shared[i] = _common_prefix(sequences.tokens, starts, order[i - 1], order[i])
    lengths = np.diff(sequences.starts) - 1
    order_N = np.array(order, np.int64)
    return _Runs(order=order_N, length=lengths[order_N], shared=np.array(shared, np.int64))


def _common_prefix(tokens: npt.NDArray[np.int32], starts: list[int], a: int, b: int) -> int:
    n = min(starts[a + 1] - starts[a], starts[b + 1] - starts[b]) - 1
    differs = tokens[starts[a] : starts[a] + n] != tokens[starts[b] : starts[b] + n]
    first = int(differs.argmax())
    return first if differs[first] else n


def _parent_runs(shared: Ints, length: Ints) -> Ints:
    """Return [N] the run that each run branches off: the last earlier one that starts less deep, or -1."""
    parent = np.full(len(shared), -1, np.int64)
    depth, full = shared.tolist(), length.tolist()
    open_runs: list[int] = []
    for i, here in enumerate(depth):
        while open_runs and depth[open_runs[-1]] >= here:
            open_runs.pop()
        if open_runs:
            parent[i] = open_runs[-1]
        if full[i] > here:
            open_runs.append(i)
    return parent


def _segments(runs: _Runs, offset: Ints, parent: Ints) -> tuple[Ints, Ints, Ints]:
    """Cut the runs where others branch off; return (start [S + 1], parent [S], end of subtree [S])."""
    new = np.flatnonzero(runs.length > runs.shared)
    above = parent[new]
    # The parent node of each run; -1 for runs at the root.
    hook = np.where(above < 0, -1, offset[above] + runs.shared[new] - 1 - runs.shared[above])
    inside = (above >= 0) & (hook + 1 < offset[above + 1])
    start = np.unique(np.concatenate([offset[new], hook[inside] + 1]))
    up = np.arange(-1, len(start) - 1)
    first_of_run = np.searchsorted(start, offset[new])
    up[first_of_run] = np.searchsorted(start, hook, side="right") - 1
    end = _subtree_ends(np.append(start, offset[-1])[1:], up)
    # A run that only continues the run before it (an input that is a prefix of the next) is not a branch.
    at = np.arange(len(start))
    branch = ~((up == at - 1) & (at > 0) & (end == end[at - 1]))
    number = np.cumsum(branch) - 1
    up = np.where(up[branch] < 0, -1, number[up[branch]])
    return np.append(start[branch], offset[-1]), up, end[branch]


def _subtree_ends(stop: Ints, parent: Ints) -> Ints:
    end, up = stop.tolist(), parent.tolist()
    for segment in range(len(end) - 1, -1, -1):
        above = up[segment]
        if above >= 0 and end[above] < end[segment]:
            end[above] = end[segment]
    return np.array(end, np.int64)


def _gather(sequences: Sequences, runs: _Runs) -> npt.NDArray[np.int32]:
    first = (sequences.starts[runs.order] + runs.shared).tolist()
    last = (sequences.starts[runs.order] + runs.length).tolist()
    pieces = [sequences.tokens[a:b] for a, b in zip(first, last, strict=True) if a < b]
    return np.concatenate(pieces).astype(np.int32, copy=False) if pieces else np.empty(0, np.int32)


def _wanted(
    sequences: Sequences, runs: _Runs, offset: Ints, parent: Ints
) -> tuple[Ints, npt.NDArray[np.int32], Ints]:
    """Return node, target and sequence of each prediction, [J] each, by node and then sequence."""
    n_targets = sequences.n_targets[runs.order].astype(np.int64)
    run = np.repeat(np.arange(len(runs.order)), n_targets)
    nth = np.arange(len(run)) - np.repeat(np.cumsum(n_targets) - n_targets, n_targets)
    depth = (runs.length - n_targets)[run] + nth
    sequence = runs.order[run]
    token = sequences.tokens[sequences.starts[sequence] + depth + 1]
    owner = _owners(run, depth, runs.shared, parent)
    node = offset[owner] + depth - runs.shared[owner]
    by_node = np.lexsort((sequence, node))
    return node[by_node], token[by_node].astype(np.int32, copy=False), sequence[by_node]


def _owners(run: Ints, depth: Ints, shared: Ints, parent: Ints) -> Ints:
    """Return the run with the token at `depth` of each given run: itself, or a run it branches off."""
    owner = run.copy()
    climbing = np.flatnonzero(depth < shared[owner])
    while len(climbing):
        owner[climbing] = parent[owner[climbing]]
        climbing = climbing[depth[climbing] < shared[owner[climbing]]]
    return owner
