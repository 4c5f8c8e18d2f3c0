"""Log-probabilities of generated tokens and of their alternatives, noted while a generator chooses them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.generate.sampler import Sampler
from milepost.types.token_answers import Alternatives, TokenAnswer

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.types.generation import Generation

    Likeliest = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]
    """[N] token ids and their log-probabilities, likeliest first."""


class TokenLogprobs:
    """The distributions that the tokens of one call are chosen from, cut to the tokens that can be chosen.

    A callback for `TokenGenerator.tokens`. As with transformers' `generate(output_scores=True)`, a
    distribution is that after penalties, temperature, top_k and top_p. The alternatives have the model's own
    log-probabilities: HELM's client divides logits by 1e-7 where it is greedy, which leaves none for them.
    """

    def __init__(self, generation: Generation) -> None:
        self._sampler = Sampler(generation)
        self._is_greedy = not generation.do_sample
        self._n_alternatives = generation.n_alternatives
        self._steps: dict[int, list[Likeliest]] = {}
        """By answer, for each token those that it is chosen from; where none is drawn, only the first."""
        self._alternatives: dict[int, list[Likeliest]] = {}

    def __call__(
        self, numbers: Sequence[int], logits_BV: torch.Tensor, histories: Sequence[npt.NDArray[np.int64]]
    ) -> None:
        logprobs_BV = self._sampler.logprobs(logits_BV, histories)
        n_kept = 1 if self._is_greedy else max(1, int(logprobs_BV.isfinite().sum(-1).max()))
        _note(self._steps, numbers, logprobs_BV, n_kept)
        if self._n_alternatives:
            own_BV = logits_BV.float().log_softmax(-1)
            _note(self._alternatives, numbers, own_BV, min(self._n_alternatives, own_BV.shape[1]))

    def forget(self, numbers: Iterable[int]) -> None:
        """Drop what was noted of answers that begin anew."""
        for number in numbers:
            self._steps.pop(number, None)
            self._alternatives.pop(number, None)

    def answer(self, number: int, tokens: Sequence[int]) -> TokenAnswer:
        """Return the tokens that one answer has in the end, with their log-probabilities."""
        logprobs = [
            logprobs_N[0] if self._is_greedy else logprobs_N[candidates_N == token].max()
            for token, (candidates_N, logprobs_N) in zip(tokens, self._steps[number], strict=False)
        ]
        alternatives = None
        if self._n_alternatives:
            ids, of_ids = zip(*self._alternatives[number][: len(tokens)], strict=True)
            alternatives = Alternatives(np.stack(ids), np.stack(of_ids))
        return TokenAnswer(
            np.asarray(tokens, dtype=np.int32), np.asarray(logprobs, dtype=np.float32), alternatives
        )


def _note(
    steps: dict[int, list[Likeliest]], numbers: Sequence[int], logprobs_BV: torch.Tensor, n_kept: int
) -> None:
    """Add the likeliest tokens of each row to its answer."""
    logprobs_BN, tokens_BN = logprobs_BV.topk(n_kept, -1)
    rows = zip(numbers, tokens_BN.int().cpu().numpy(), logprobs_BN.cpu().numpy(), strict=True)
    for number, tokens_N, logprobs_N in rows:
        steps.setdefault(number, []).append((tokens_N, logprobs_N))
