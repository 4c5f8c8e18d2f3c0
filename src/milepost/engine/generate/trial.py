"""Verifies a generator on a model: a few tokens of a few prompts together, against `reference`.

As in `engine.trial`, a trial has prompts on both sides of every length at which the model may change, and
some whose texts cross it; so its verdict holds for all prompts and texts that together are no longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.generate.detokenize import GenerationJob, TokenGenerator
from milepost.engine.generate.reference import ReferenceGenerator
from milepost.engine.half_precision import upcast_matmuls
from milepost.engine.memory import is_out_of_memory
from milepost.engine.positions import boundaries
from milepost.engine.trial import (
    COMPARED_TOKENS,
    MAX_BOUNDARIES,
    Verdict,
    are_widened_right,
    tolerance_nats,
    try_to,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.generate.generator import Prompts
    from milepost.engine.generate.stopping import TextCodec
    from milepost.types.generation import Generation

TRIAL_TOKENS = 4


class GenerationTrial:
    """A few of the prompts that are about to be continued."""

    def __init__(
        self,
        module: torch.nn.Module,
        codec: TextCodec,
        vocab_size: int,
        prompts: Prompts,
        generation: Generation,
        *,
        equal_lengths: bool = False,
        upcast: bool = True,
    ) -> None:
        """Choose the probes.

        Args:
            prompts: at least one.
            equal_lengths: whether probes come in pairs of equal length, for a generator that batches only
                those.
            upcast: whether `reference` multiplies as `Optimizations.upcast_matmuls` says.
        """
        self._module, self._upcast = module, upcast
        self.probes = probes_of(prompts, generation.max_new_tokens, boundaries(module), equal_lengths)
        self._reference = ReferenceGenerator(module, codec, vocab_size=vocab_size)
        n_tokens = min(TRIAL_TOKENS, generation.max_new_tokens)
        self._generation = replace(
            generation, do_sample=False, options=(), n_answers=1, max_new_tokens=n_tokens
        )
        self._allowed = tolerance_nats(module)

    @torch.inference_mode()
    def verdict(self, generator: TokenGenerator) -> Verdict:
        """Compare the logits by which a generator chose, or its choices if it does not show the logits."""
        seen: dict[int, list[torch.Tensor]] = {}

        def keep(numbers: Sequence[int], logits_BV: torch.Tensor, _: object) -> None:
            for number, logits_V in zip(numbers, logits_BV.float(), strict=True):
                seen.setdefault(number, []).append(logits_V)

        job = GenerationJob(self.probes, self._generation, self._is_finished, keep)
        answers = try_to(lambda: generator.tokens(job))
        if isinstance(answers, Verdict):
            return answers
        upcast = self._upcast and are_widened_right(self._module, self.probes[0])
        compared = False
        for number, (probe, answer) in enumerate(zip(self.probes, answers, strict=True)):
            if answer is None:
                continue
            try:
                with upcast_matmuls(self._module, wanted=upcast):
                    expected_NV = self._reference.logits_along(probe, answer).log_softmax(-1)
            except Exception as error:  # a model's code raises anything
                if is_out_of_memory(error):
                    raise
                continue
            if not expected_NV.isfinite().any(-1).all():
                continue
            off = self._off(expected_NV, answer, seen.get(number, []))
            if not off <= self._allowed:
                return Verdict.on_difference("logits", off)
            compared = True
        return Verdict(None, compared=compared)

    def _is_finished(self, tokens: Sequence[int]) -> bool:
        return len(tokens) >= self._generation.max_new_tokens

    @staticmethod
    def _off(expected_NV: torch.Tensor, answer: list[int], seen: list[torch.Tensor]) -> float:
        """Return the largest difference from the reference along the same text, in nats."""
        if not seen:
            chosen_N = expected_NV.gather(1, torch.tensor(answer, device=expected_NV.device)[:, None])[:, 0]
            return (expected_NV.amax(-1) - chosen_N).max().item()
        seen_NV = torch.stack(seen[: len(answer)]).log_softmax(-1)
        top = expected_NV.topk(min(COMPARED_TOKENS, expected_NV.shape[1]), -1)
        return (seen_NV.gather(1, top.indices) - top.values).abs().max().item()


def probes_of(
    prompts: Prompts, max_new_tokens: int, lengths: Sequence[int] = (), equal_lengths: bool = False
) -> list[npt.NDArray[np.int32]]:
    """Return the probes of a trial.

    They are the longest prompt, for windows and limits of positions; its neighbour, for sharing; the
    shortest, for padding; and for each of some lengths two prompts that begin like the longest: one whose
    text crosses the length, and one that is longer.

    Args:
        prompts: at least one.
        max_new_tokens: of a text.
        lengths: in tokens, at which a model may change its computation; only those that a prompt and its text
            can reach count.
        equal_lengths: whether to add each probe reversed, so that no length is alone.
    """
    n_tokens = [len(prompt) for prompt in prompts]
    top = int(np.argmax(n_tokens))
    chosen = dict.fromkeys([top, top + 1 if top + 1 < len(prompts) else 0, int(np.argmin(n_tokens))])
    probes = [prompts[i] for i in chosen]
    n_text = min(TRIAL_TOKENS, max_new_tokens)
    most = len(prompts[top]) + max_new_tokens - n_text
    below = [length for length in lengths if 2 <= length - 1 <= most][-MAX_BOUNDARIES:]
    for cut in sorted({cut for length in below for cut in (length - 1, length + 1) if cut <= most}):
        # A text may become longer than every prompt: then the prompt is repeated up to that length.
        probes.append(np.resize(prompts[top], cut))
    if equal_lengths:
        probes += [probe[::-1].copy() for probe in probes]
    return probes
