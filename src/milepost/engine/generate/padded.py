"""transformers' own `generate` in left-padded batches, as lm_eval runs it, for every model it can run.

What is ours: where a text ends, and which token is next (`stopping`, `choosing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from milepost.engine.generate.detokenize import IsFinished, LogitsCallback, TokenGenerator
from milepost.engine.generate.sampler import Sampler, text_rng
from milepost.engine.memory import is_out_of_memory
from milepost.engine.positions import reset_positions

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.generate.stopping import TextCodec
    from milepost.types import Generation

MAX_ROWS = {"cpu": 16, "cuda": 64, "mps": 16}
PAD = 0
"""Which token pads is of no account: a mask hides it."""


class PaddedGenerator(TokenGenerator):
    """Batches of prompts of similar length, or of one length each where padding would count."""

    name = "padded"
    fallback: str | None = None

    def __init__(
        self,
        module: torch.nn.Module,
        codec: TextCodec,
        *,
        vocab_size: int,
        equal_lengths: bool = False,
        max_rows: int | None = None,
    ) -> None:
        """`equal_lengths`: nothing is padded. `max_rows`: prompts in a batch."""
        self.module: Any = module
        self.codec = codec
        self.vocab_size = vocab_size
        self.equal_lengths = equal_lengths
        self.device = next(module.parameters()).device
        self.max_rows = max_rows or MAX_ROWS.get(self.device.type, 16)

    @torch.inference_mode()
    def tokens(
        self,
        prompts: Sequence[npt.NDArray[np.int32]],
        generation: Generation,
        is_finished: IsFinished,
        on_logits: LogitsCallback | None = None,
    ) -> list[list[int] | None]:
        """See `TokenGenerator`."""
        wanted = [(i, answer) for i in range(len(prompts)) for answer in range(generation.n_answers)]
        longest_first = sorted(wanted, key=lambda one: -len(prompts[one[0]]))
        found: dict[tuple[int, int], list[int] | None] = {}
        done = 0
        while done < len(longest_first):
            batch = longest_first[done : done + self.max_rows]
            if self.equal_lengths:
                width = len(prompts[batch[0][0]])
                batch = [one for one in batch if len(prompts[one[0]]) == width]
            choice = _Choice(
                Sampler(generation),
                [max(len(prompts[i]) for i, _ in batch) - len(prompts[i]) for i, _ in batch],
                [text_rng(generation, prompts[i], answer) for i, answer in batch],
                [i * generation.n_answers + answer for i, answer in batch],
                on_logits,
            )
            try:
                own = self.run([prompts[i] for i, _ in batch], generation.max_new_tokens, choice, is_finished)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(batch) == 1:
                    raise
                self.max_rows = max(1, len(batch) // 2)
                continue
            found |= dict(zip(batch, own, strict=True))
            done += len(batch)
        return [found[one] for one in wanted]

    def run(
        self,
        prompts: Sequence[npt.NDArray[np.int32]],
        max_new_tokens: int,
        choice: _Choice,
        is_finished: IsFinished,
    ) -> list[list[int] | None]:
        """One batch."""
        width = max(len(prompt) for prompt in prompts)
        tokens_BT = np.full((len(prompts), width), PAD, dtype=np.int64)
        seen_BT = np.zeros((len(prompts), width), dtype=np.int64)
        for b, prompt in enumerate(prompts):
            tokens_BT[b, width - len(prompt) :] = prompt
            seen_BT[b, width - len(prompt) :] = 1
        ends = _Ends(is_finished, width, choice)
        reset_positions(self.module)
        out_BT = self.module.generate(
            torch.from_numpy(tokens_BT).to(self.device),
            attention_mask=torch.from_numpy(seen_BT).to(self.device),
            generation_config=_plain_config(max_new_tokens, no_token=self.vocab_size),
            logits_processor=[choice],
            stopping_criteria=[ends],
        )
        return [
            None if choice.broken[b] else tokens[: ends.length[b]]
            for b, tokens in enumerate(out_BT[:, width:].tolist())
        ]

    @torch.inference_mode()
    def logits_along(self, prompt: npt.NDArray[np.int32], tokens: Sequence[int]) -> torch.Tensor:
        """[N, V] the logits before each of N given tokens of a text, in float32."""
        given = _Given(tokens)
        self.run([prompt], len(tokens), _Choice(given, [0], [], [0]), lambda own: len(own) >= len(tokens))
        return torch.stack(given.logits)


def _plain_config(max_new_tokens: int, no_token: int) -> GenerationConfig:
    """Nothing of the model's own settings, which would take the place of None: a `Generation` has them."""
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


class _Chooses(Protocol):
    """What is used of a `Sampler`."""

    needs_history: bool

    def choose(
        self,
        logits_BV: torch.Tensor,
        histories: Sequence[npt.NDArray[np.int64]],
        draws: Sequence[np.random.Generator],
    ) -> npt.NDArray[np.int64]: ...


class _Given:
    """Takes the tokens it was given, for one row, and keeps the logits."""

    needs_history = False

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        self.logits: list[torch.Tensor] = []

    def choose(
        self,
        logits_BV: torch.Tensor,
        histories: Sequence[npt.NDArray[np.int64]],
        draws: Sequence[np.random.Generator],
    ) -> npt.NDArray[np.int64]:
        """See `Sampler.choose`."""
        self.logits.append(logits_BV[0].float())
        return np.array([self._tokens[len(self.logits) - 1]])


class _Choice(LogitsProcessor):
    """Leaves only the token that the chooser takes."""

    def __init__(
        self,
        chooser: _Chooses,
        padding: list[int],
        draws: list[np.random.Generator],
        numbers: list[int],
        on_logits: LogitsCallback | None = None,
    ) -> None:
        """`numbers`: of the answers, as `on_logits` is told them."""
        self._chooser = chooser
        self._padding = padding
        self._draws = draws
        self._numbers = numbers
        self._on_logits = on_logits
        self.broken = [False] * len(padding)
        """Rows for which the model gave NaN."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._on_logits is not None:
            self._on_logits(self._numbers, scores)
        histories = []
        if self._chooser.needs_history:
            histories = [
                row[padding:] for row, padding in zip(input_ids.cpu().numpy(), self._padding, strict=True)
            ]
        chosen = self._chooser.choose(scores, histories, self._draws)
        self.broken = [was or token < 0 for was, token in zip(self.broken, chosen.tolist(), strict=True)]
        only_BV = torch.full_like(scores, float("-inf"))
        chosen_B1 = torch.from_numpy(chosen.clip(min=0))[:, None].to(scores.device)
        return only_BV.scatter_(1, chosen_B1, 0.0)


class _Ends(StoppingCriteria):
    """Stops rows whose texts have ended, and remembers after how many tokens."""

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
