"""What every generator of this package does the same way: token ids of each answer become texts.

A generator finds the token ids (`tokens`), and may be watched while it does: a trial looks at the logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from milepost.engine.generate.stopping import Stops
from milepost.engine.model_inputs import check_ids

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from milepost.engine.generate.stopping import TextCodec
    from milepost.types import Generation

    Prompts = Sequence[npt.NDArray[np.int32]]

IsFinished = Callable[[Sequence[int]], bool]
"""Whether a text has ended with the last of these tokens."""
LogitsCallback = Callable[[Sequence[int], "torch.Tensor"], None]
"""Told the logits [B, V] that the next token of B answers is chosen by, and the number of each answer."""


class TokenGenerator:
    """A generator whose texts are those of its `tokens`."""

    codec: TextCodec
    vocab_size: int
    failed: Mapping[int, str] = {}
    """Empty: what the model raises is raised."""
    incremental_stops = True
    """See `Optimizations.incremental_stops`."""

    def generate(self, prompts: Prompts, generation: Generation) -> list[list[str] | None]:
        """See `base.Generator`."""
        for prompt in prompts:
            check_ids(prompt, self.vocab_size)
        if not prompts:
            return []
        stops = self._stops_of(generation)
        tokens = self.tokens(prompts, generation, stops.is_finished)
        texts = [None if own is None else stops.text(own) for own in tokens]
        n = generation.n_answers
        found: list[list[str] | None] = []
        for first in range(0, len(texts), n):
            whole = [text for text in texts[first : first + n] if text is not None]
            found.append(whole if len(whole) == n else None)
        return found

    def tokens(
        self,
        prompts: Prompts,
        generation: Generation,
        is_finished: IsFinished,
        on_logits: LogitsCallback | None = None,
    ) -> list[list[int] | None]:
        """Token ids of the answers, `generation.n_answers` of a prompt one after the other; None where the
        model gave NaN. Answers are numbered in that order for `on_logits`."""
        raise NotImplementedError

    def _stops_of(self, generation: Generation) -> Stops:
        """Made once for each `Generation`, as it goes through the whole vocabulary."""
        kept: dict[Generation, Stops] = self.__dict__.setdefault("_stops", {})
        if generation not in kept:
            kept[generation] = Stops(self.codec, generation, incremental=self.incremental_stops)
        return kept[generation]
