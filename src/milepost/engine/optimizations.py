"""The optimizations of engines and generators; benchmarks turn each one off to measure its worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from milepost.engine.model_inputs import backwards
from milepost.plan.tree import Tree

if TYPE_CHECKING:
    from milepost.types.sequences import Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizations:
    """Switches of the packed engine and of the batched generator.

    No switch changes a score beyond rounding, nor a text except where rounding decides a near-tie.
    """

    # Both.
    share_prefixes: bool = True
    """Compute a prefix once: for all sequences that begin with it, or for all prompts. Off: each alone."""
    head_chunks: bool = True
    """Compute logits in chunks of the vocabulary that stay in the cache (CPU). Off: a row's at once."""
    upcast_matmuls: bool = True
    """Multiply half precision in float32 if the processor has no half-precision products. Off: as torch."""

    narrow_last_layer: bool = True
    """Run the last layer, past its keys and values, only where a target is scored or a text begins (CPU).
    Off: everywhere."""

    # The packed engine.
    cascade: bool = True
    """Attend to a long shared prefix in one dense pass for all rows below it, merged by log-sum-exp.
    Off: copy the prefix's keys to every tile."""
    batch_tiles: bool = True
    """Put tiles of similar size into one attention call. Off: one call per tile."""
    needed_head: bool = True
    """Compute logits only where a target is scored. Off: at every token."""
    stage_weights: bool = True
    """Copy the next checkpoint's weights to the GPU while the present one is scored, if a second copy fits.
    Off: copy them afterwards."""
    pack_graphs: bool = False
    """Record forward passes of packs as CUDA graphs. Worth trying up to about 135M parameters, where kernels
    take less time than their launch; off until it has been measured on a card."""

    # The batched generator.
    copy_prefixes: bool = True
    """Copy the keys and values that a prompt shares with one in the KV cache. Off: compute them."""
    sort_by_length: bool = True
    """Start with long prompts, so that rows of similar length are together. Off: in the order given."""
    drop_finished: bool = True
    """Drop a row as soon as its text has ended. Off: when the texts of all rows have ended."""
    refill: bool = True
    """Fill a free slot with the next prompt. Off: wait until all slots are free."""
    attention_chunks: bool = True
    """Decode with one attention call per eight rows, each as long as it needs (CPU). Off: one for all."""
    incremental_stops: bool = True
    """Look for stop strings only after tokens that can complete one. Off: after every token."""
    fixed_steps: bool = True
    """Decode with fixed shapes and keep the rows' state on the GPU. Off: decode as on a CPU."""
    decode_graphs: bool = True
    """Record a decode step as a CUDA graph. Off: launch kernel by kernel."""
    look_ahead: bool = True
    """Launch the next decode step before the host reads this one's tokens (GPU). Off: afterwards."""


SHARED = ("share_prefixes", "head_chunks", "upcast_matmuls", "narrow_last_layer")
SCORING = (*SHARED, "cascade", "batch_tiles", "needed_head", "stage_weights")
"""Switches that an ablation of the packed engine turns off one at a time."""
GENERATION = (
    *SHARED, "copy_prefixes", "sort_by_length", "drop_finished", "refill", "attention_chunks",
    "incremental_stops", "fixed_steps", "decode_graphs", "look_ahead",
)  # fmt: skip
"""Switches that an ablation of the batched generator turns off one at a time."""


def build_unshared_tree(sequences: Sequences) -> Tree:
    """Return the prefix tree that `share_prefixes=False` runs: one branch per sequence, in order."""
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
