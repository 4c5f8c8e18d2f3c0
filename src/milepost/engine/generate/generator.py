"""What a generator is, and how one is chosen."""

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


class Generator(Protocol):
    """Continues prompts with the module it was built on, whose weights may change between calls."""

    @property
    def name(self) -> str:
        """What is really running."""
        ...

    @property
    def fallback(self) -> str | None:
        """Why a faster generator is not used, in one line; None where the one asked for is."""
        ...

    @property
    def failed(self) -> Mapping[int, str]:
        """By its number in the last call, why the model raised an exception on a prompt; it has no texts."""
        ...

    def generate(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> list[list[str] | None]:
        """The texts of each prompt, in order, `generation.n_answers` of each; None where the model gave NaN.

        Prompt and text together are never longer than the model's context.

        Raises:
            MilepostError: a token id that the model does not have.
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
    """The generator that goes with the engine of that name.

    Args:
        module: a causal LM in eval mode, on the device and in the dtype it is to run in.
        codec: its tokenizer.
        vocab_size: rows of its embedding; a token id must be smaller.
        budget_tokens: tokens in one forward pass; None lets the generator choose.
        optimizations: which optimisations of the batched generator are on; None for all of them.
    """
    from milepost.engine.failure_isolation import FailureIsolatingGenerator
    from milepost.engine.generate.length_groups import LengthGroupedGenerator
    from milepost.engine.generate.reference import ReferenceGenerator
    from milepost.engine.generate.selection import VerifiedGenerator
    from milepost.engine.positions import length_switch

    reference = ReferenceGenerator(module, codec, vocab_size=vocab_size)
    if name == "reference":
        return FailureIsolatingGenerator(reference, reference)

    def begin(first: str) -> VerifiedGenerator:
        return VerifiedGenerator(
            module,
            codec,
            vocab_size=vocab_size,
            first=first,
            budget_tokens=budget_tokens,
            optimizations=optimizations,
        )

    generator: Generator = begin(name if name in ("padded", "hf-continuous") else "batched")
    switch = length_switch(module)
    if switch is not None:
        generator = LengthGroupedGenerator(generator, begin("equal lengths"), switch)
    return FailureIsolatingGenerator(generator, reference)
