"""The generator that is obviously right: one prompt, every token by a plain forward pass of all before it.

A model whose positions change with the length (`engine.positions`) is the exception: the keys that a cache
holds then depend on when they were made, and lm_eval's texts come from such a cache. There it is what
transformers' `generate` writes to one prompt, by a model that has seen nothing before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.generate.detokenize import IsFinished, LogitsCallback, TokenGenerator
from milepost.engine.generate.padded import PaddedGenerator
from milepost.engine.generate.sampler import Sampler, text_rng
from milepost.engine.positions import length_switch

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.generate.stopping import TextCodec
    from milepost.types import Generation


class ReferenceGenerator(TokenGenerator):
    """No batch, every stop string looked for after every token; a cache only where texts depend on it."""

    name = "reference"
    fallback: str | None = None
    incremental_stops = False

    def __init__(self, module: torch.nn.Module, codec: TextCodec, *, vocab_size: int) -> None:
        self.module = module
        self.codec = codec
        self.vocab_size = vocab_size
        self._cached = (
            None
            if length_switch(module) is None
            else PaddedGenerator(module, codec, vocab_size=vocab_size, max_rows=1)
        )

    @torch.inference_mode()
    def tokens(
        self,
        prompts: Sequence[npt.NDArray[np.int32]],
        generation: Generation,
        is_finished: IsFinished,
        on_logits: LogitsCallback | None = None,
    ) -> list[list[int] | None]:
        """See `TokenGenerator`."""
        if self._cached is not None:
            return self._cached.tokens(prompts, generation, is_finished, on_logits)
        chooser = Sampler(generation)
        found: list[list[int] | None] = []
        for prompt in prompts:
            for answer in range(generation.n_answers):
                draws = text_rng(generation, prompt, answer)
                found.append(self._answer(prompt, chooser, draws, is_finished, on_logits, len(found)))
        return found

    def _answer(
        self,
        prompt: npt.NDArray[np.int32],
        chooser: Sampler,
        draws: np.random.Generator,
        is_finished: IsFinished,
        on_logits: LogitsCallback | None,
        number: int,
    ) -> list[int] | None:
        device = next(self.module.parameters()).device
        history = prompt.astype(np.int64)
        tokens: list[int] = []
        while not tokens or not is_finished(tokens):
            logits_BTV = self.module(torch.from_numpy(history)[None].to(device), use_cache=False).logits
            if on_logits is not None:
                on_logits([number], logits_BTV[:, -1])
            (token,) = chooser.choose(logits_BTV[:, -1], [history], [draws]).tolist()
            if token < 0:
                return None
            tokens.append(token)
            history = np.append(history, token)
        return tokens

    @torch.inference_mode()
    def logits_along(self, prompt: npt.NDArray[np.int32], tokens: Sequence[int]) -> torch.Tensor:
        """[N, V] the logits before each of N given tokens of a text, in float32."""
        if self._cached is not None:
            return self._cached.logits_along(prompt, tokens)
        device = next(self.module.parameters()).device
        history = np.concatenate([prompt, np.asarray(tokens[:-1], dtype=np.int32)]).astype(np.int64)
        logits_BTV = self.module(torch.from_numpy(history)[None].to(device), use_cache=False).logits
        logits_NV: torch.Tensor = logits_BTV[0, -len(tokens) :].float()
        return logits_NV
