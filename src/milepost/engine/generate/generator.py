"""The interface of generators, and `build_generator`, which makes one by an engine's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from milepost.engine.engine import EngineName
    from milepost.engine.generate.stopping import TextCodec
    from milepost.engine.optimizations import Optimizations
    from milepost.types import Generation

    Prompts = Sequence[npt.NDArray[np.int32]]
    Texts = list[list[str] | None]


class Generator(Protocol):
    """Continues prompts with the module it was built on, whose weights may change between calls."""

    @property
    def name(self) -> str:
        """The generator that runs."""
        ...

    @property
    def fallback(self) -> str | None:
        """Reason why a faster generator is not used, in one line; None if the requested one is."""
        ...

    @property
    def failed(self) -> Mapping[int, str]:
        """Reasons of the last call's failed prompts, by their numbers; they have no texts."""
        ...

    def generate(self, prompts: Prompts, generation: Generation) -> Texts:
        """Return the `generation.n_answers` texts of each prompt, in order; None if the model gave NaN.

        Prompt and text together are never longer than the model's context.

        Raises:
            MilepostError: the model does not have one of the token ids.
            Exception: whatever the model raises; a generator that `build_generator` made has it in `failed`.
        """
        ...


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
    from milepost.engine.allocator import tune_allocator
    from milepost.engine.failure_isolation import FailureIsolatingGenerator
    from milepost.engine.generate.length_groups import LengthGroupedGenerator
    from milepost.engine.generate.reference import ReferenceGenerator
    from milepost.engine.generate.selection import VerifiedGenerator
    from milepost.engine.positions import length_switch

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
