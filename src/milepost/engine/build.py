"""Make an engine by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost.engine.allocator import tune_allocator
from milepost.engine.engine import Engine, EngineName
from milepost.engine.failure_isolation import FailureIsolatingEngine
from milepost.engine.length_groups import LengthGroupedEngine, cut
from milepost.engine.packed import PackedEngine
from milepost.engine.padded import PaddedEngine
from milepost.engine.positions import length_switch
from milepost.engine.reference import ReferenceEngine
from milepost.plan.sequences import longest

if TYPE_CHECKING:
    import torch

    from milepost.engine.optimizations import Optimizations
    from milepost.types.sequences import Sequences


def build_engine(
    name: EngineName,
    module: torch.nn.Module,
    *,
    vocab_size: int,
    budget_tokens: int | None = None,
    optimizations: Optimizations | None = None,
    trial: Sequences | None = None,
) -> Engine:
    """Return the engine of that name over a transformers causal LM.

    Args:
        name: `auto` is the fastest engine that is right for this model.
        module: a causal LM in eval mode, on the device and in the dtype it is to run in.
        vocab_size: rows of its embedding; a token id must be smaller.
        budget_tokens: tokens in one forward pass; None lets the engine choose.
        optimizations: of the packed engine; None for the defaults.
        trial: sequences as long as any to come. The engine is tried once on a few of them, the longest among
            them, before its first scores. Without them it is tried whenever longer sequences come.
    """

    tune_allocator(module)
    reference = ReferenceEngine(module, vocab_size=vocab_size)
    if name == "reference":
        return reference

    def padded(trial: Sequences | None, longer_than: int = 0) -> PaddedEngine:
        return PaddedEngine(
            module, vocab_size=vocab_size, budget_tokens=budget_tokens, trial=trial, longer_than=longer_than
        )

    def build(trial: Sequences | None) -> Engine:
        if name == "padded":
            return padded(trial)
        return PackedEngine(
            module,
            vocab_size=vocab_size,
            budget_tokens=budget_tokens,
            optimizations=optimizations,
            trial=trial,
        )

    switch = length_switch(module)
    if switch is None or (trial is not None and longest(trial) - 1 <= switch.tokens):
        return FailureIsolatingEngine(build(trial), reference)
    short = build(None if trial is None else cut(trial, switch.tokens))
    long = padded(trial, longer_than=switch.tokens)
    return FailureIsolatingEngine(LengthGroupedEngine(short, long, switch), reference)
