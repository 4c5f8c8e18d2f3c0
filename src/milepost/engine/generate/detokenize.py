"""The common part of the generators: token ids of each answer become texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milepost.engine.generate.stopping import Stops
from milepost.engine.generate.token_logprobs import TokenLogprobs
from milepost.engine.model_inputs import check_ids

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from milepost.engine.generate.generator import Prompts, Texts
    from milepost.engine.generate.stopping import TextCodec
    from milepost.types.generation import Generation

IsFinished = Callable[[Sequence[int]], bool]
"""True if a text ends with the last of these tokens."""
LogitsCallback = Callable[[Sequence[int], "torch.Tensor", "Sequence[npt.NDArray[np.int64]]"], None]
"""Called with the numbers of B answers, the logits [B, V] by which their next tokens are chosen, and, where a
penalty needs them, the token ids of prompts and texts so far."""
AnswerTokens = list[int] | None
"""Token ids of one answer; None if the model gave NaN."""


@dataclass(frozen=True, slots=True)
class GenerationJob:
    """Prompts to continue. Answer `i * n_answers + k` is the k-th of prompt i."""

    prompts: Prompts
    generation: Generation
    is_finished: IsFinished
    on_logits: LogitsCallback | None = None
    """A trial reads the logits; a generator may not have them."""


class TokenGenerator(ABC):
    """A generator whose texts are decoded from its `tokens`."""

    fallback: str | None = None
    """See `Generator.fallback`."""
    failed: Mapping[int, str] = {}
    """Empty: what the model raises is raised."""
    incremental_stops = True
    """See `Optimizations.incremental_stops`."""

    def __init__(self, codec: TextCodec, vocab_size: int) -> None:
        self.codec = codec
        self.vocab_size = vocab_size
        self._stops: dict[Generation, Stops] = {}

    @property
    @abstractmethod
    def name(self) -> str:
        """See `Generator.name`."""

    def generate(self, prompts: Prompts, generation: Generation) -> Texts:
        """See `Generator.generate`."""
        for prompt in prompts:
            check_ids(prompt, self.vocab_size)
        if not prompts:
            return []
        stops = self._stops_of(generation)
        noted = TokenLogprobs(generation) if generation.returns == "tokens" else None
        answers = self.tokens(GenerationJob(prompts, generation, stops.is_finished, noted))
        texts = [
            None if answer is None else noted.answer(i, answer).to_text() if noted else stops.text(answer)
            for i, answer in enumerate(answers)
        ]
        n = generation.n_answers
        by_prompt: Texts = []
        for first in range(0, len(texts), n):
            complete = [text for text in texts[first : first + n] if text is not None]
            by_prompt.append(complete if len(complete) == n else None)
        return by_prompt

    @abstractmethod
    def tokens(self, job: GenerationJob) -> list[AnswerTokens]:
        """Return the token ids of all answers, in the order of their numbers."""

    def _stops_of(self, generation: Generation) -> Stops:
        """Return the stops of a `Generation`, made once, as that reads the whole vocabulary."""
        if generation not in self._stops:
            self._stops[generation] = Stops(self.codec, generation, incremental=self.incremental_stops)
        return self._stops[generation]
