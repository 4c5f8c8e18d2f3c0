"""Whether a generator may be used for a model: a few tokens of a few prompts, together, against `reference`.

As in `engine.trial`, a trial has prompts on both sides of every length at which the model may change, and
some whose texts cross it; so its verdict holds for all prompts and texts that are no longer together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from milepost.engine.generate.reference import ReferenceGenerator
from milepost.engine.memory import is_out_of_memory
from milepost.engine.positions import boundaries
from milepost.engine.trial import MAX_BOUNDARIES, TOLERANCE_NATS, Verdict, one_line

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.generate.detokenize import IsFinished, LogitsCallback
    from milepost.engine.generate.stopping import TextCodec
    from milepost.types import Generation

    Prompts = Sequence[npt.NDArray[np.int32]]

TRIAL_TOKENS = 4
LIKELIEST = 8
"""So many of the likeliest next tokens are compared."""


class Tried(Protocol):
    """What a trial uses of a generator."""

    def tokens(
        self,
        prompts: Prompts,
        generation: Generation,
        is_finished: IsFinished,
        on_logits: LogitsCallback | None = None,
    ) -> list[list[int] | None]:
        """See `TokenGenerator.tokens`; `on_logits` may stay unused."""
        ...


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
    ) -> None:
        """Choose the probes.

        Args:
            prompts: at least one.
            equal_lengths: probes come in pairs of one length, for a generator that batches only those.
        """
        self.probes = probes_of(prompts, generation.max_new_tokens, boundaries(module), equal_lengths)
        self._reference = ReferenceGenerator(module, codec, vocab_size=vocab_size)
        n_tokens = min(TRIAL_TOKENS, generation.max_new_tokens)
        self._asked = replace(generation, do_sample=False, options=(), n_answers=1, max_new_tokens=n_tokens)
        self._allowed = TOLERANCE_NATS.get(next(module.parameters()).dtype, 0.4)

    @torch.inference_mode()
    def verdict(self, generator: Tried) -> Verdict:
        """Compare the logits that it chose by, or, where it does not show them, its choices."""
        seen: dict[int, list[torch.Tensor]] = {}

        def on_logits(numbers: Sequence[int], logits_BV: torch.Tensor) -> None:
            for number, logits_V in zip(numbers, logits_BV.float(), strict=True):
                seen.setdefault(number, []).append(logits_V)

        try:
            tokens = generator.tokens(self.probes, self._asked, self._is_finished, on_logits)
        except Exception as error:
            # Whatever goes wrong in a trial is a reason not to use what was tried, and it is told.
            if is_out_of_memory(error):
                raise
            return Verdict(one_line(error), compared=True)
        compared = False
        for number, (probe, text) in enumerate(zip(self.probes, tokens, strict=True)):
            if text is None:
                continue
            try:
                expected_NV = self._reference.logits_along(probe, text).log_softmax(-1)
            except Exception as error:  # a model's code raises anything
                if is_out_of_memory(error):
                    raise
                continue
            if not expected_NV.isfinite().any(-1).all():
                continue
            off = self._off(expected_NV, text, seen.get(number, []))
            if not off <= self._allowed:
                return Verdict(f"its logits are {off:.2g} nats off the plain forward pass", compared=True)
            compared = True
        return Verdict(None, compared=compared)

    def _is_finished(self, tokens: Sequence[int]) -> bool:
        return len(tokens) >= self._asked.max_new_tokens

    @staticmethod
    def _off(expected_NV: torch.Tensor, text: list[int], seen: list[torch.Tensor]) -> float:
        """The largest difference from what the reference has along the same text, in nats."""
        if not seen:
            chosen_N = expected_NV.gather(1, torch.tensor(text, device=expected_NV.device)[:, None])[:, 0]
            return (expected_NV.amax(-1) - chosen_N).max().item()
        found_NV = torch.stack(seen[: len(text)]).log_softmax(-1)
        likeliest = expected_NV.topk(min(LIKELIEST, expected_NV.shape[1]), -1)
        return (found_NV.gather(1, likeliest.indices) - likeliest.values).abs().max().item()


def probes_of(
    prompts: Prompts, max_new_tokens: int, lengths: Sequence[int] = (), equal_lengths: bool = False
) -> list[npt.NDArray[np.int32]]:
    """The longest prompt, for windows and limits of position; its neighbour, for sharing; the shortest, for
    padding; and for each of some lengths below that of prompt and text two that begin like the longest: one
    whose text crosses it, and one that is longer.

    Args:
        lengths: in tokens, at which a model may change what it does.
        equal_lengths: each also in reverse, so that no length is alone.
    """
    n_tokens = [len(prompt) for prompt in prompts]
    top = int(np.argmax(n_tokens))
    chosen = dict.fromkeys([top, top + 1 if top + 1 < len(prompts) else 0, int(np.argmin(n_tokens))])
    probes = [prompts[i] for i in chosen]
    n_text = min(TRIAL_TOKENS, max_new_tokens)
    most = len(prompts[top]) + max_new_tokens - n_text
    below = [length for length in lengths if 2 <= length - 1 <= most][-MAX_BOUNDARIES:]
    for cut in sorted({cut for length in below for cut in (length - 1, length + 1) if cut <= most}):
        # A text may become longer than every prompt: then the prompt is repeated up to there.
        probes.append(np.resize(prompts[top], cut))
    if equal_lengths:
        probes += [probe[::-1].copy() for probe in probes]
    return probes
