"""The sampler: chooses the next token of each row from its logits, greedily or by a draw.

A draw depends on the seed, the prompt, the number of the answer and the place in the text. So the same
question gets the same answers in any batch, and after a run is resumed anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.generation import logits_process

from milepost.engine.generate.sampling_support import effective_options
from milepost.types.generation import Generation

if TYPE_CHECKING:
    import numpy.typing as npt

PENALTIES: dict[str, Callable[[Any], Any]] = {
    "repetition_penalty": logits_process.RepetitionPenaltyLogitsProcessor,
    "no_repeat_ngram_size": logits_process.NoRepeatNGramLogitsProcessor,
}
FILTERS: dict[str, Callable[[Any], Any]] = {
    "top_k": logits_process.TopKLogitsWarper,
    "top_p": logits_process.TopPLogitsWarper,
    "min_p": logits_process.MinPLogitsWarper,
    "typical_p": logits_process.TypicalLogitsWarper,
    "epsilon_cutoff": logits_process.EpsilonLogitsWarper,
    "eta_cutoff": logits_process.EtaLogitsWarper,
}
"""transformers' processors, in the order in which it applies them."""


def text_rng(generation: Generation, prompt: npt.NDArray[np.int32], answer: int) -> np.random.Generator:
    """Return the random generator whose draws choose the tokens of one text, in order."""
    name = f"{generation.seed} {answer} ".encode() + prompt.astype("<i4").tobytes()
    key = np.frombuffer(hashlib.sha256(name).digest()[:16], dtype="<u8")
    return np.random.Generator(np.random.Philox(key=key))


class Sampler:
    """Chooses tokens by the options of one `Generation`."""

    def __init__(self, generation: Generation) -> None:
        options = effective_options(generation)
        self.needs_history = any(name in PENALTIES for name in options)
        self._penalties = [make(options[name]) for name, make in PENALTIES.items() if name in options]
        self._do_sample = generation.do_sample
        self._temperature = generation.temperature
        self.is_greedy = not self._penalties and not self._do_sample
        """True if the next token is always that of the largest logit."""
        self._filters = [make(options[name]) for name, make in FILTERS.items() if name in options]

    def choose(
        self,
        logits_BV: torch.Tensor,
        histories: Sequence[npt.NDArray[np.int64]],
        rngs: Sequence[np.random.Generator],
    ) -> npt.NDArray[np.int64]:
        """Return token ids [B]; -1 if the model gave NaN.

        Args:
            logits_BV: of the last position of each row, in any dtype.
            histories: prompt and text so far of each row; not read unless `needs_history`.
            rngs: of each row; not read unless tokens are drawn.
        """
        scores_BV = self._penalised(logits_BV, histories)
        largest_B, chosen_B = scores_BV.max(-1)
        broken_B = largest_B.isnan()
        if self._do_sample:
            chosen_B = self._draw(torch.where(broken_B[:, None], 0.0, scores_BV), rngs)
        chosen: npt.NDArray[np.int64] = chosen_B.masked_fill(broken_B, -1).cpu().numpy()
        return chosen

    def logprobs(self, logits_BV: torch.Tensor, histories: Sequence[npt.NDArray[np.int64]]) -> torch.Tensor:
        """Return the log-probabilities [B, V] that tokens are drawn with, in float32; as `choose`."""
        return self._filtered(self._penalised(logits_BV, histories)).log_softmax(-1)

    def _penalised(self, logits_BV: torch.Tensor, histories: Sequence[npt.NDArray[np.int64]]) -> torch.Tensor:
        scores_BV = logits_BV.float()
        if not self._penalties:
            return scores_BV
        rows = []
        for b, history in enumerate(histories):
            ids_1T = torch.from_numpy(history)[None].to(scores_BV.device)
            scores_1V = scores_BV[b : b + 1].clone()
            for penalty in self._penalties:
                scores_1V = penalty(ids_1T, scores_1V)
            rows.append(scores_1V)
        return torch.cat(rows)

    def _filtered(self, scores_BV: torch.Tensor) -> torch.Tensor:
        scores_BV = scores_BV / self._temperature
        for warp in self._filters:
            scores_BV = warp(None, scores_BV)
        return scores_BV

    def _draw(self, scores_BV: torch.Tensor, rngs: Sequence[np.random.Generator]) -> torch.Tensor:
        sums_BV = self._filtered(scores_BV).double().softmax(-1).cumsum(-1)
        point_B1 = torch.tensor([[rng.random()] for rng in rngs], dtype=torch.float64, device=sums_BV.device)
        chosen_B1 = torch.searchsorted(sums_BV, point_B1 * sums_BV[:, -1:], right=True)
        return chosen_B1[:, 0].clamp(max=scores_BV.shape[1] - 1)
