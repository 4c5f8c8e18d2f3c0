"""Log-probabilities of generated tokens, noted while a generator chooses them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.generate.sampler import Sampler
from milepost.token_answers import TokenAnswer

if TYPE_CHECKING:
    from milepost.types.generation import Generation


class TokenLogprobs:
    """The distributions that the tokens of one call are chosen from, cut to the tokens that can be chosen.

    A callback for `TokenGenerator.tokens`. As with transformers' `generate(output_scores=True)`, a
    distribution is that after temperature, top_k and top_p; penalties are left out.
    """

    def __init__(self, generation: Generation) -> None:
        self._sampler = Sampler(generation)
        self._is_greedy = not generation.do_sample
        self._steps: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        """By answer: of each token the candidates and their log-probabilities."""

    def __call__(self, numbers: Sequence[int], logits_BV: torch.Tensor) -> None:
        logprobs_BV = self._sampler.logprobs(logits_BV)
        n_kept = 1 if self._is_greedy else max(1, int(logprobs_BV.isfinite().sum(-1).max()))
        kept = logprobs_BV.topk(n_kept, -1)
        candidates_BK, logprobs_BK = kept.indices.cpu(), kept.values.cpu()
        for row, number in enumerate(numbers):
            self._steps.setdefault(number, []).append((candidates_BK[row], logprobs_BK[row]))

    def forget(self, numbers: Iterable[int]) -> None:
        """Drop what was noted of answers that begin anew."""
        for number in numbers:
            self._steps.pop(number, None)

    def answer(self, number: int, tokens: Sequence[int]) -> TokenAnswer:
        """Return the tokens that one answer has in the end, with their log-probabilities."""
        steps = self._steps[number]
        if self._is_greedy:
            logprobs = [float(logprobs_K[0]) for _, logprobs_K in steps[: len(tokens)]]
        else:
            logprobs = [
                float(logprobs_K[candidates_K == token].max())
                for token, (candidates_K, logprobs_K) in zip(tokens, steps, strict=False)
            ]
        return TokenAnswer(np.asarray(tokens, dtype=np.int32), np.asarray(logprobs, dtype=np.float32))
