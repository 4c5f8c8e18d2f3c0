"""The reference generator: one prompt, every token by a plain forward pass over all tokens before it.

A model whose positions change with the length (`engine.positions`) is the exception: the keys in a cache then
depend on when they were computed, and lm_eval's texts come from such a cache. Its reference is what
transformers' `generate` writes to one prompt, with the model's state reset.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from milepost.engine.generate.detokenize import AnswerTokens, GenerationJob, TokenGenerator
from milepost.engine.generate.padded import PaddedGenerator
from milepost.engine.generate.sampler import Sampler, text_rng
from milepost.engine.positions import length_switch

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.generate.stopping import TextCodec


class ReferenceGenerator(TokenGenerator):
    """Runs one prompt at a time and searches every stop string after every token."""

    name = "reference"
    incremental_stops = False

    def __init__(self, module: torch.nn.Module, codec: TextCodec, *, vocab_size: int) -> None:
        super().__init__(codec, vocab_size)
        self.module = module
        self._can_limit_logits = "logits_to_keep" in inspect.signature(module.forward).parameters
        self._cached = (
            None
            if length_switch(module) is None
            else PaddedGenerator(module, codec, vocab_size=vocab_size, max_rows=1)
        )

    @torch.inference_mode()
    def tokens(self, job: GenerationJob) -> list[AnswerTokens]:
        """See `TokenGenerator.tokens`."""
        if self._cached is not None:
            return self._cached.tokens(job)
        sampler = Sampler(job.generation)
        n_answers = job.generation.n_answers
        return [
            self._answer(job, sampler, number, prompt, text_rng(job.generation, prompt, number % n_answers))
            for number in range(len(job.prompts) * n_answers)
            for prompt in [job.prompts[number // n_answers]]
        ]

    def _answer(
        self,
        job: GenerationJob,
        sampler: Sampler,
        number: int,
        prompt: npt.NDArray[np.int32],
        rng: np.random.Generator,
    ) -> AnswerTokens:
        history = prompt.astype(np.int64)
        tokens: list[int] = []
        while not tokens or not job.is_finished(tokens):
            logits_1V = self._logits(history)[:, -1]
            if job.on_logits is not None:
                job.on_logits([number], logits_1V, [history])
            (token,) = sampler.choose(logits_1V, [history], [rng]).tolist()
            if token < 0:
                return None
            tokens.append(token)
            history = np.append(history, token)
        return tokens

    @torch.inference_mode()
    def logits_along(self, prompt: npt.NDArray[np.int32], tokens: Sequence[int]) -> torch.Tensor:
        """Return the logits [N, V] before each of N given tokens of a text, in float32."""
        if self._cached is not None:
            return self._cached.logits_along(prompt, tokens)
        history = np.concatenate([prompt, np.asarray(tokens[:-1], dtype=np.int32)]).astype(np.int64)
        return self._logits(history, len(tokens))[0, -len(tokens) :].float()

    def _logits(self, history: npt.NDArray[np.int64], n_kept: int = 1) -> torch.Tensor:
        """Return the logits [1, T, V] of at least the last `n_kept` positions."""
        limit: dict[str, Any] = {"logits_to_keep": n_kept} if self._can_limit_logits else {}
        device = next(self.module.parameters()).device
        logits_1TV: torch.Tensor = self.module(
            torch.from_numpy(history)[None].to(device), use_cache=False, **limit
        ).logits
        return logits_1TV
