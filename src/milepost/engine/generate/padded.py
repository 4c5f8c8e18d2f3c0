"""transformers' own `generate` in left-padded batches, as lm_eval runs it, for every model it can run.

Milepost decides where a text ends and which token is next (`stopping`, `sampler`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from milepost.engine.generate.detokenize import (
    AnswerTokens,
    GenerationJob,
    IsFinished,
    LogitsCallback,
    TokenGenerator,
)
from milepost.engine.generate.sampler import Sampler, text_rng
from milepost.engine.memory import BatchLimit
from milepost.engine.positions import reset_positions

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.generate.generator import Prompts
    from milepost.engine.generate.stopping import TextCodec

MAX_ROWS = {"cpu": 16, "cuda": 64, "mps": 16}
PAD = 0
"""The pad token id does not matter; it is masked."""


class PaddedGenerator(TokenGenerator):
    """Batches of prompts of similar length, or of equal length if padding would change texts."""

    name = "padded"

    def __init__(
        self,
        module: torch.nn.Module,
        codec: TextCodec,
        *,
        vocab_size: int,
        equal_lengths: bool = False,
        max_rows: int | None = None,
    ) -> None:
        """`equal_lengths`: whether a batch has prompts of one length; `max_rows`: answers in a batch."""
        super().__init__(codec, vocab_size)
        self.module: Any = module
        self.equal_lengths = equal_lengths
        self.device = next(module.parameters()).device
        self._rows = BatchLimit(max_rows or MAX_ROWS.get(self.device.type, 16))

    @property
    def max_rows(self) -> int:
        """The most answers in a batch; halved if memory runs out."""
        return self._rows.limit

    @torch.inference_mode()
    def tokens(self, job: GenerationJob) -> list[AnswerTokens]:
        """See `TokenGenerator.tokens`."""
        prompts, generation, n_answers = job.prompts, job.generation, job.generation.n_answers
        waiting = sorted(
            range(len(prompts) * n_answers), key=lambda number: -len(prompts[number // n_answers])
        )
        answers: dict[int, AnswerTokens] = {}
        while waiting:
            batch = waiting[: self.max_rows]
            own = [prompts[number // n_answers] for number in batch]
            if self.equal_lengths:
                n_equal = sum(len(prompt) == len(own[0]) for prompt in own)  # sorted by length
                batch, own = batch[:n_equal], own[:n_equal]
            rngs = [
                text_rng(generation, prompt, number % n_answers)
                for number, prompt in zip(batch, own, strict=True)
            ]
            padding = [len(own[0]) - len(prompt) for prompt in own]
            choice = _Choice(Sampler(generation), padding, rngs, batch, job.on_logits)
            with self._rows.halving(len(batch)):
                found = self._run(own, generation.max_new_tokens, choice, job.is_finished)
                answers |= dict(zip(batch, found, strict=True))
                waiting = waiting[len(batch) :]
        return [answers[number] for number in range(len(answers))]

    def _run(
        self, prompts: Prompts, max_new_tokens: int, choice: _Choice, is_finished: IsFinished
    ) -> list[AnswerTokens]:
        """Run one batch."""
        width = max(len(prompt) for prompt in prompts)
        tokens_BT = np.full((len(prompts), width), PAD, dtype=np.int64)
        seen_BT = np.zeros((len(prompts), width), dtype=np.int64)
        for b, prompt in enumerate(prompts):
            tokens_BT[b, width - len(prompt) :] = prompt
            seen_BT[b, width - len(prompt) :] = 1
        stopping = _Stopping(is_finished, width, choice)
        reset_positions(self.module)
        out_BT = self.module.generate(
            torch.from_numpy(tokens_BT).to(self.device),
            attention_mask=torch.from_numpy(seen_BT).to(self.device),
            generation_config=_plain_config(max_new_tokens, no_token=self.vocab_size),
            logits_processor=[choice],
            stopping_criteria=[stopping],
        )
        return [
            None if choice.broken[b] else tokens[: stopping.length[b]]
            for b, tokens in enumerate(out_BT[:, width:].tolist())
        ]

    @torch.inference_mode()
    def logits_along(self, prompt: npt.NDArray[np.int32], tokens: Sequence[int]) -> torch.Tensor:
        """Return the logits [N, V] before each of N given tokens of a text, in float32."""
        forced = _ForcedTokens(tokens)
        choice = _Choice(forced, [0], [], [0])
        self._run([prompt], len(tokens), choice, lambda own: len(own) >= len(tokens))
        return torch.stack(forced.logits)


def _plain_config(max_new_tokens: int, no_token: int) -> GenerationConfig:
    """Return a config that sets everything, as the model's own settings would replace None."""
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        use_cache=True,
        eos_token_id=no_token,
        pad_token_id=PAD,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
    )


class _ForcedTokens:
    """Chooses given tokens, for one row, and keeps the logits."""

    needs_history = False

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        self.logits: list[torch.Tensor] = []

    def choose(
        self,
        logits_BV: torch.Tensor,
        histories: Sequence[npt.NDArray[np.int64]],
        rngs: Sequence[np.random.Generator],
    ) -> npt.NDArray[np.int64]:
        """See `Sampler.choose`."""
        self.logits.append(logits_BV[0].float())
        return np.array([self._tokens[len(self.logits) - 1]])


class _Choice(LogitsProcessor):
    """Masks every token but the one that the sampler chooses."""

    def __init__(
        self,
        sampler: Sampler | _ForcedTokens,
        padding: list[int],
        rngs: list[np.random.Generator],
        numbers: list[int],
        on_logits: LogitsCallback | None = None,
    ) -> None:
        """`numbers`: of the answers, for `on_logits`."""
        self._sampler = sampler
        self._padding = padding
        self._rngs = rngs
        self._numbers = numbers
        self._on_logits = on_logits
        self.broken = [False] * len(padding)
        """Rows for which the model gave NaN."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        histories = []
        if self._sampler.needs_history:
            histories = [
                row[padding:] for row, padding in zip(input_ids.cpu().numpy(), self._padding, strict=True)
            ]
        if self._on_logits is not None:
            self._on_logits(self._numbers, scores, histories)
        chosen = self._sampler.choose(scores, histories, self._rngs)
        self.broken = [was or token < 0 for was, token in zip(self.broken, chosen.tolist(), strict=True)]
        only_BV = torch.full_like(scores, float("-inf"))
        chosen_B1 = torch.from_numpy(chosen.clip(min=0))[:, None].to(scores.device)
        return only_BV.scatter_(1, chosen_B1, 0.0)


class _Stopping(StoppingCriteria):
    """Stops rows whose texts have ended, and records their lengths in tokens."""

    def __init__(self, is_finished: IsFinished, width: int, choice: _Choice) -> None:
        self._is_finished = is_finished
        self._width = width
        self._choice = choice
        self.length: list[int | None] = [None] * len(choice.broken)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        for b, tokens in enumerate(input_ids[:, self._width :].tolist()):
            if self.length[b] is None and (self._choice.broken[b] or self._is_finished(tokens)):
                self.length[b] = len(tokens)
        return torch.tensor([length is not None for length in self.length], device=input_ids.device)
