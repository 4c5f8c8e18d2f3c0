"""Make a generator by the name of its engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost.engine.allocator import tune_allocator
from milepost.engine.failure_isolation import FailureIsolatingGenerator
from milepost.engine.generate.generator import Generator
from milepost.engine.generate.length_groups import LengthGroupedGenerator
from milepost.engine.generate.reference import ReferenceGenerator
from milepost.engine.generate.selection import VerifiedGenerator
from milepost.engine.positions import length_switch

if TYPE_CHECKING:
    import torch

    from milepost.engine.engine import EngineName
    from milepost.engine.generate.stopping import TextCodec
    from milepost.engine.optimizations import Optimizations


def build_generator(
    name: EngineName,
    module: torch.nn.Module,
    codec: TextCodec,
    *,
    vocab_size: int,
    budget_tokens: int | None = None,
    optimizations: Optimizations | None = None,
) -> Generator:
    """Return the generator that belongs to the engine of that name.

    Args:
        name: of the engine.
        module: a causal LM in eval mode, on the device and in the dtype it is to run in.
        vocab_size: rows of its embedding; a token id must be smaller.
        budget_tokens: tokens in one forward pass; None lets the generator choose.
        optimizations: of the batched generator; None for the defaults.
    """

    tune_allocator(module)
    reference = ReferenceGenerator(module, codec, vocab_size=vocab_size)
    if name == "reference":
        return FailureIsolatingGenerator(reference, reference)

    def verified(first: str) -> VerifiedGenerator:
        return VerifiedGenerator(
            module,
            codec,
            vocab_size=vocab_size,
            first=first,
            budget_tokens=budget_tokens,
            optimizations=optimizations,
        )

    generator: Generator = verified(name if name in ("padded", "hf-continuous") else "batched")
    switch = length_switch(module)
    if switch is not None:
        generator = LengthGroupedGenerator(generator, verified("equal lengths"), switch)
    return FailureIsolatingGenerator(generator, reference)
