"""The packed engine's optimisations, each of which can be turned off to see what it is worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """All on by default but the last; none of them changes a score beyond rounding."""

    share_prefixes: bool = True
    """Run a prefix once, however many sequences begin with it. Off: every sequence on its own."""
    cascade: bool = True
    """One dense attention pass over a long shared prefix for all rows below it, merged by log-sum-exp.
    Off: the prefix's keys are copied to every tile."""
    batch_tiles: bool = True
    """Tiles of similar size in one attention call. Off: one call per tile."""
    needed_head: bool = True
    """Logits only where a target is scored. Off: at every token."""
    narrow_last_layer: bool = True
    """The last layer only where a target is scored, past its keys and values (CPU). Off: at every token."""
    head_chunks: bool = True
    """Logits in chunks of the vocabulary that stay in the cache (CPU). Off: a row's logits at once."""
    wide_products: bool = True
    """Half-precision products in float32 where the processor has none of its own. Off: as torch does them."""
    stage_weights: bool = True
    """The next checkpoint's weights are copied to the GPU while the present one is scored, where there is
    room for a second copy. Off: they are copied when it is done."""
    cuda_graphs: bool = False
    """Forward passes recorded as CUDA graphs and replayed (GPU): worth trying up to some 135M parameters,
    where kernels take less time than their launch. Off until it has been measured on a card."""
