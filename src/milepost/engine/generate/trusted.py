"""The batched generator where a model can be trusted with it, transformers' own `generate` where not.

As in `engine.trust`: the model must declare that its attention can be replaced, ask it for nothing unknown,
call it once per layer, and give for a few of the very prompts the logits of its plain forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.generate.batched import BatchedGenerator
from milepost.engine.generate.padded import PaddedGenerator
from milepost.engine.generate.rows import Row
from milepost.engine.memory import is_out_of_memory
from milepost.engine.trust import TOLERANCE_NATS, Verdict, reason_from_config
from milepost.errors import MilepostError

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.generate.stopping import TextCodec
    from milepost.engine.generate.switches import GenerateSwitches
    from milepost.types import Generation

TRIAL_TOKENS = 3
LIKELIEST = 8
"""So many of the likeliest next tokens are compared."""


class TrustedGenerator:
    """Tries itself on a model before its first texts, and again for longer prompts than any tried before."""

    def __init__(
        self,
        module: torch.nn.Module,
        codec: TextCodec,
        *,
        vocab_size: int,
        budget_tokens: int | None = None,
        switches: GenerateSwitches | None = None,
    ) -> None:
        self._module = module
        self._codec = codec
        self._vocab_size = vocab_size
        self._verified_length = 0
        self._padded: PaddedGenerator | None = None
        self._batched: BatchedGenerator | None = None
        reason = reason_from_config(module)
        if reason is not None:
            self._fall_back(reason)
        else:
            self._batched = BatchedGenerator(
                module, codec, vocab_size=vocab_size, budget_tokens=budget_tokens, switches=switches
            )

    @property
    def name(self) -> str:
        return "padded" if self._padded else "batched"

    @property
    def fallback(self) -> str | None:
        return self._padded.fallback if self._padded else None

    def generate(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> list[list[str] | None]:
        """See `base.Generator`."""
        if self._batched is not None and prompts:
            self._verify(self._batched, prompts, generation)
        if self._padded is not None:
            return self._padded.generate(prompts, generation)
        assert self._batched is not None
        return self._batched.generate(prompts, generation)

    def _verify(
        self, batched: BatchedGenerator, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> None:
        longest = max(len(prompt) for prompt in prompts)
        if longest <= self._verified_length:
            return
        verdict = _try(batched, _probes(prompts), generation)
        if verdict.compared:
            self._verified_length = longest
        if verdict.reason is not None:
            self._fall_back(verdict.reason)
            self._batched = None

    def _fall_back(self, reason: str) -> None:
        self._padded = PaddedGenerator(
            self._module,
            self._codec,
            vocab_size=self._vocab_size,
            fallback=f"the batched generator is not used: {reason}",
        )


def _probes(prompts: Sequence[npt.NDArray[np.int32]]) -> list[npt.NDArray[np.int32]]:
    """The longest prompt, for windows and limits of position; its neighbour, for sharing."""
    longest = int(np.argmax([len(prompt) for prompt in prompts]))
    return [prompts[i] for i in (longest, longest + 1 if longest + 1 < len(prompts) else 0)]


@torch.inference_mode()
def _try(
    batched: BatchedGenerator,
    probes: list[npt.NDArray[np.int32]],
    generation: Generation,
) -> Verdict:
    """Compares the logits of a few tokens with the plain forward pass of prompt and text in one."""
    asked = replace(
        generation,
        do_sample=False,
        options=(),
        n_answers=1,
        max_new_tokens=min(TRIAL_TOKENS, generation.max_new_tokens),
    )
    seen: dict[int, list[torch.Tensor]] = {}

    def watch(rows: list[Row], logits_BV: torch.Tensor) -> None:
        for row, logits_V in zip(rows, logits_BV.float(), strict=True):
            seen.setdefault(row.number, []).append(logits_V)

    try:
        tokens = batched.tokens(probes, asked, lambda text: len(text) >= asked.max_new_tokens, watch)
    except Exception as error:
        # Whatever goes wrong in a trial is a reason not to use what was tried, and it is told.
        if isinstance(error, MilepostError) or is_out_of_memory(error):
            raise
        return Verdict(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", compared=True)
    allowed = TOLERANCE_NATS.get(next(batched.model.module.parameters()).dtype, 0.4)
    compared = False
    for number, (probe, text) in enumerate(zip(probes, tokens, strict=True)):
        if text is None:
            continue
        whole_1T = torch.from_numpy(np.append(probe, np.asarray(text[:-1], dtype=np.int32)).astype(np.int64))
        hidden_1TD = batched.model.hidden(whole_1T[None].to(batched.model.device))
        expected_NV = batched.model.logits(hidden_1TD[0, -len(text) :]).float().log_softmax(-1)
        found_NV = torch.stack(seen[number][: len(text)]).log_softmax(-1)
        likeliest = expected_NV.topk(min(LIKELIEST, expected_NV.shape[1]), -1)
        off = (found_NV.gather(1, likeliest.indices) - likeliest.values).abs().max().item()
        if not off <= allowed:
            return Verdict(f"its logits are {off:.2g} nats off the plain forward pass", compared=True)
        compared = True
    return Verdict(None, compared=compared)
