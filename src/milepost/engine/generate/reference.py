"""The generator that is obviously right: one prompt, every token by a plain forward pass of all before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.generate.choosing import Chooser, dice
from milepost.engine.generate.stopping import Stops, TextCodec
from milepost.engine.inputs import check_ids

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.types import Generation


class ReferenceGenerator:
    """No cache, no batch, every stop string looked for after every token."""

    name = "reference"
    fallback: str | None = None

    def __init__(self, module: torch.nn.Module, codec: TextCodec, *, vocab_size: int) -> None:
        self.module = module
        self.codec = codec
        self.vocab_size = vocab_size

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> list[list[str] | None]:
        """See `base.Generator`."""
        stops = Stops(self.codec, generation, incremental=False)
        chooser = Chooser(generation)
        found: list[list[str] | None] = []
        for prompt in prompts:
            check_ids(prompt, self.vocab_size)
            texts = [self._text(prompt, n, generation, stops, chooser) for n in range(generation.n_answers)]
            whole = [text for text in texts if text is not None]
            found.append(whole if len(whole) == len(texts) else None)
        return found

    def _text(
        self,
        prompt: npt.NDArray[np.int32],
        answer: int,
        generation: Generation,
        stops: Stops,
        chooser: Chooser,
    ) -> str | None:
        draws = dice(generation, prompt, answer)
        device = next(self.module.parameters()).device
        history = prompt.astype(np.int64)
        tokens: list[int] = []
        while not tokens or not stops.ended(tokens):
            logits_BTV = self.module(torch.from_numpy(history)[None].to(device), use_cache=False).logits
            (token,) = chooser.choose(logits_BTV[:, -1], [history], [draws]).tolist()
            if token < 0:
                return None
            tokens.append(token)
            history = np.append(history, token)
        return stops.text(tokens)
