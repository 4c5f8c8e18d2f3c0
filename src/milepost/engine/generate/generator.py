"""The interface of generators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from milepost.types.generation import Generation

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
