"""The batched generator's optimisations, each of which can be turned off to see what it is worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateSwitches:
    """All on by default; none of them changes a text, but for near-ties that rounding decides."""

    share_prefix: bool = True
    """What all prompts begin with (few-shot examples) is computed and kept once. Off: with every prompt."""
    copy_prefixes: bool = True
    """What a prompt has in common with one in memory is copied from there. Off: computed."""
    sort_by_length: bool = True
    """Long prompts first, so that rows of similar length are together. Off: in the order given."""
    drop_finished: bool = True
    """A row leaves as soon as its text has ended. Off: when those of all rows have."""
    refill: bool = True
    """The place of a row that left is taken by the next prompt. Off: when all rows have left."""
    attend_in_parts: bool = True
    """On a CPU a step's attention is a call per eight rows, each as long as it needs. Off: one for all."""
    head_in_parts: bool = True
    """On a CPU the likeliest token is found a part of the vocabulary at a time. Off: all logits at once."""
    incremental_stops: bool = True
    """Stop strings are looked for only after tokens that can complete one. Off: after every token."""
    wide_products: bool = True
    """Half-precision products in float32 where the processor has none of its own. Off: as torch does them."""
    fixed_steps: bool = True
    """On a GPU every step has the same shapes and the rows' state stays there. Off: a step as on a CPU."""
    graphs: bool = True
    """On a GPU a step is recorded as a CUDA graph and replayed. Off: launched kernel by kernel."""
    look_ahead: bool = True
    """On a GPU the next step is launched before the tokens of this one are looked at. Off: after."""
