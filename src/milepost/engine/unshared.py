"""A prefix tree that shares nothing: what sharing is measured against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from milepost.engine.model_inputs import backwards
from milepost.plan.tree import Tree

if TYPE_CHECKING:
    from milepost.types import Sequences


def build_unshared_tree(sequences: Sequences) -> Tree:
    """Every sequence's input as a branch of its own, in their order."""
    length = np.diff(sequences.starts) - 1
    stop = np.cumsum(length)
    visible = np.ones(len(sequences.tokens), dtype=np.bool_)
    visible[sequences.starts[1:] - 1] = False
    sequence = np.repeat(np.arange(len(sequences)), sequences.n_targets)
    from_last = backwards(sequences.n_targets.astype(np.int64))
    return Tree(
        tokens=sequences.tokens[visible],
        pos=(np.arange(length.sum()) - np.repeat(stop - length, length)).astype(np.int32),
        end=np.repeat(stop, length),
        segment_start=np.concatenate([[0], stop]),
        segment_parent=np.full(len(sequences), -1),
        wanted_node=stop[sequence] - 1 - from_last,
        wanted_token=sequences.tokens[sequences.starts[1:][sequence] - 1 - from_last],
        wanted_sequence=sequence,
    )
