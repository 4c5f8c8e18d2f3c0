"""transformers' own `generate` in left-padded batches, as lm_eval runs it, for every model it can run.

What is ours: where a text ends, and which token is next (`stopping`, `choosing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from milepost.engine.generate.choosing import Chooser, dice
from milepost.engine.generate.stopping import Stops, TextCodec
from milepost.engine.inputs import check_ids
from milepost.engine.memory import is_out_of_memory

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.types import Generation

MOST_ROWS = {"cpu": 16, "cuda": 64, "mps": 16}
PAD = 0
"""Which token pads is of no account: a mask hides it."""


class PaddedGenerator:
    """Batches of prompts of similar length; one prompt at a time where a model keeps a running state."""

    name = "padded"

    def __init__(
        self,
        module: torch.nn.Module,
        codec: TextCodec,
        *,
        vocab_size: int,
        fallback: str | None = None,
    ) -> None:
        self.module: Any = module
        self.codec = codec
        self.vocab_size = vocab_size
        self.fallback = fallback
        self.device = next(module.parameters()).device
        # Padding would go into the state.
        stateful = getattr(module, "_is_stateful", False)
        self.most_rows = 1 if stateful else MOST_ROWS.get(self.device.type, 16)

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> list[list[str] | None]:
        """See `base.Generator`."""
        for prompt in prompts:
            check_ids(prompt, self.vocab_size)
        stops = Stops(self.codec, generation)
        wanted = [(i, answer) for i in range(len(prompts)) for answer in range(generation.n_answers)]
        wanted.sort(key=lambda one: -len(prompts[one[0]]))
        found: dict[tuple[int, int], str | None] = {}
        done = 0
        while done < len(wanted):
            batch = wanted[done : done + self.most_rows]
            try:
                found |= dict(zip(batch, self._texts(prompts, batch, generation, stops), strict=True))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.most_rows == 1:
                    raise
                self.most_rows = max(1, len(batch) // 2)
                continue
            done += len(batch)
        answers = [[found[i, answer] for answer in range(generation.n_answers)] for i in range(len(prompts))]
        return [None if None in texts else [str(text) for text in texts] for texts in answers]

    def _texts(
        self,
        prompts: Sequence[npt.NDArray[np.int32]],
        batch: Sequence[tuple[int, int]],
        generation: Generation,
        stops: Stops,
    ) -> list[str | None]:
        width = max(len(prompts[i]) for i, _ in batch)
        tokens_BT = np.full((len(batch), width), PAD, dtype=np.int64)
        seen_BT = np.zeros((len(batch), width), dtype=np.int64)
        for b, (i, _) in enumerate(batch):
            tokens_BT[b, width - len(prompts[i]) :] = prompts[i]
            seen_BT[b, width - len(prompts[i]) :] = 1
        choice = _Choice(
            Chooser(generation),
            [width - len(prompts[i]) for i, _ in batch],
            [dice(generation, prompts[i], answer) for i, answer in batch],
        )
        ends = _Ends(stops, width, choice)
        out_BT = self.module.generate(
            torch.from_numpy(tokens_BT).to(self.device),
            attention_mask=torch.from_numpy(seen_BT).to(self.device),
            generation_config=_plain_config(generation.max_new_tokens, no_token=self.vocab_size),
            logits_processor=[choice],
            stopping_criteria=[ends],
        )
        texts: list[str | None] = []
        for b, tokens in enumerate(out_BT[:, width:].tolist()):
            length = ends.length[b]
            texts.append(None if choice.broken[b] else stops.text(tokens[:length]))
        return texts


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


class _Choice(LogitsProcessor):
    """Leaves only the token that the chooser takes."""

    def __init__(self, chooser: Chooser, padding: list[int], draws: list[np.random.Generator]) -> None:
        self._chooser = chooser
        self._padding = padding
        self._draws = draws
        self.broken = [False] * len(padding)
        """Rows for which the model gave NaN."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
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

    def __init__(self, stops: Stops, width: int, choice: _Choice) -> None:
        self._stops = stops
        self._width = width
        self._choice = choice
        self.length: list[int | None] = [None] * len(choice.broken)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        for b, tokens in enumerate(input_ids[:, self._width :].tolist()):
            if self.length[b] is None and (self._choice.broken[b] or self._stops.ended(tokens)):
                self.length[b] = len(tokens)
        return torch.tensor([length is not None for length in self.length], device=input_ids.device)
