"""Short and long texts through different generators, as `engine.length_groups` does for scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from milepost.engine.generate.generator import Generator
from milepost.engine.length_groups import LengthGroups

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from milepost.types.generation import Generation


class LengthGroupedGenerator(LengthGroups[Generator]):
    """A generator for which a prompt is long if prompt and text together can pass the limit."""

    failed: Mapping[int, str] = {}
    """Empty: what the model raises is raised."""

    def _describe_long(self, limit: str, name: str) -> str:
        return f"texts that can pass {limit} are written by {name} in batches of one length"

    def generate(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> list[list[str] | None]:
        """See `Generator.generate`."""
        texts: dict[int, list[str] | None] = {}
        is_long = [len(prompt) + generation.max_new_tokens > self._switch.tokens for prompt in prompts]
        for long in (False, True):
            chosen = [i for i, prompt_is_long in enumerate(is_long) if prompt_is_long == long]
            if chosen:
                generated = self._use(long=long).generate([prompts[i] for i in chosen], generation)
                texts |= dict(zip(chosen, generated, strict=True))
        return [texts[i] for i in range(len(prompts))]
