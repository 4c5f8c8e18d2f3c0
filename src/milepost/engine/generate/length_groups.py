"""Short texts and long ones apart, as `engine.length_groups` does for what is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from milepost.engine.generate.generator import Generator
    from milepost.engine.positions import LengthSwitch
    from milepost.types import Generation


class LengthGroupedGenerator:
    """Two generators over one module."""

    failed: Mapping[int, str] = {}
    """Empty: what the model raises is raised."""

    def __init__(self, short: Generator, long: Generator, switch: LengthSwitch) -> None:
        """`long` continues prompts that with their texts can have more than `switch.tokens` tokens."""
        self._short, self._long, self._switch = short, long, switch
        self._used: list[Generator] = []

    @property
    def name(self) -> str:
        """Of those used so far, such as `batched+padded`."""
        return "+".join(dict.fromkeys(generator.name for generator in self._used or [self._short]))

    @property
    def fallback(self) -> str | None:
        reasons = [self._short.fallback] if self._short in self._used else []
        if self._long in self._used:
            reasons.append(
                f"texts that can pass {self._switch.tokens:,} tokens are written by {self._long.name} in "
                f"batches of one length: positions ({self._switch.kind}) depend on the batch there"
            )
            reasons.append(self._long.fallback)
        return "; ".join(reason for reason in reasons if reason) or None

    def generate(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> list[list[str] | None]:
        """See `base.Generator`."""
        found: dict[int, list[str] | None] = {}
        is_long = [len(prompt) + generation.max_new_tokens > self._switch.tokens for prompt in prompts]
        for generator, wanted in ((self._short, False), (self._long, True)):
            chosen = [i for i, long in enumerate(is_long) if long == wanted]
            if not chosen:
                continue
            if generator not in self._used:
                self._used.append(generator)
            texts = generator.generate([prompts[i] for i in chosen], generation)
            found |= dict(zip(chosen, texts, strict=True))
        return [found[i] for i in range(len(prompts))]
