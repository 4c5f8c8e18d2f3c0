"""Selects the fastest generator that passes a trial on a model, and records why it is not a faster one.

The chain ends in `reference`, which needs no trial: batched (or transformers' continuous batching), batched
without a narrowed last layer, padded, batches of equal length, one prompt at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from milepost.engine.generate.batched import BatchedGenerator
from milepost.engine.generate.continuous import ContinuousGenerator
from milepost.engine.generate.padded import PaddedGenerator
from milepost.engine.generate.reference import ReferenceGenerator
from milepost.engine.generate.trial import GenerationTrial
from milepost.engine.model_inputs import check_ids
from milepost.engine.optimizations import Optimizations
from milepost.engine.reasons import join_reasons
from milepost.engine.trial import reason_from_config, reason_from_positions

if TYPE_CHECKING:
    import torch

    from milepost.engine.generate.detokenize import TokenGenerator
    from milepost.engine.generate.generator import Prompts, Texts
    from milepost.engine.generate.stopping import TextCodec
    from milepost.types.generation import Generation


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A link of the chain."""

    make: Callable[[], TokenGenerator]
    refusal: str
    """First words of the reason against it."""
    mixes_lengths: bool
    reason: str | None = None
    """Reason why it is refused without a trial."""


class VerifiedGenerator:
    """The first generator of the chain that passes its trial; tried again for longer texts than before."""

    failed: Mapping[int, str] = {}
    """Empty: what the model raises is raised."""

    def __init__(
        self,
        module: torch.nn.Module,
        codec: TextCodec,
        *,
        vocab_size: int,
        first: str = "batched",
        budget_tokens: int | None = None,
        optimizations: Optimizations | None = None,
    ) -> None:
        """`first`: the beginning of the chain: `hf-continuous`, `batched`, `padded` or `equal lengths`."""
        self._module = module
        self._codec = codec
        self._vocab_size = vocab_size
        self._verified_length = 0
        self._reasons: list[str] = []

        def padded(*, equal_lengths: bool = False, max_rows: int | None = None) -> PaddedGenerator:
            return PaddedGenerator(
                module, codec, vocab_size=vocab_size, equal_lengths=equal_lengths, max_rows=max_rows
            )

        def batched(wanted: Optimizations) -> BatchedGenerator:
            return BatchedGenerator(
                module, codec, vocab_size=vocab_size, budget_tokens=budget_tokens, optimizations=wanted
            )

        wanted = optimizations or Optimizations()
        self._upcast = wanted.upcast_matmuls
        chain = {
            "hf-continuous": _Candidate(
                lambda: ContinuousGenerator(module, codec, vocab_size=vocab_size),
                "hf-continuous is not used",
                mixes_lengths=True,
            ),
            "batched": _Candidate(
                lambda: batched(wanted),
                "prefill runs the whole last layer",
                mixes_lengths=True,
                reason=reason_from_config(module),
            ),
            # This optimization depends most on the model's own code, so it is dropped first.
            "batched, whole last layer": _Candidate(
                lambda: batched(replace(wanted, narrow_last_layer=False)),
                "the batched generator is not used",
                mixes_lengths=True,
                reason=reason_from_config(module),
            ),
            "padded": _Candidate(
                padded,
                "batches are of one length only",
                mixes_lengths=True,
                reason="padding would go into its state" if getattr(module, "_is_stateful", False) else None,
            ),
            "equal lengths": _Candidate(
                lambda: padded(equal_lengths=True), "prompts are continued one at a time", mixes_lengths=False
            ),
            "one at a time": _Candidate(
                lambda: padded(max_rows=1), "the padded generator is not used", mixes_lengths=False
            ),
        }
        links = list(chain)
        self._waiting = [chain[link] for link in links[links.index(first) :]]
        self._generator = self._next()

    @property
    def name(self) -> str:
        """See `Generator.name`."""
        return self._generator.name

    @property
    def fallback(self) -> str | None:
        """See `Generator.fallback`."""
        return join_reasons(self._reasons)

    def generate(self, prompts: Prompts, generation: Generation) -> Texts:
        """See `Generator.generate`."""
        for prompt in prompts:
            check_ids(prompt, self._vocab_size)
        if not prompts:
            return []
        self._verify(prompts, generation)
        return self._generator.generate(prompts, generation)

    def _verify(self, prompts: Prompts, generation: Generation) -> None:
        """Go down the chain to the first generator that passes a trial for these prompts."""
        longest = max(len(prompt) for prompt in prompts) + generation.max_new_tokens
        while self._waiting and longest > self._verified_length:
            candidate = self._waiting[0]
            reason = reason_from_positions(self._module, longest) if candidate.mixes_lengths else None
            if reason is None:
                trial = GenerationTrial(
                    self._module,
                    self._codec,
                    self._vocab_size,
                    prompts,
                    generation,
                    equal_lengths=not candidate.mixes_lengths,
                    upcast=self._upcast,
                )
                reason, compared = trial.verdict(self._generator)
                if reason is None:
                    if compared:
                        self._verified_length = longest
                    return
            self._refuse(reason)
            self._generator = self._next()

    def _next(self) -> TokenGenerator:
        """Make the first generator of the chain that is not refused without a trial."""
        while self._waiting and self._waiting[0].reason is not None:
            self._refuse(self._waiting[0].reason)
        if self._waiting:
            return self._waiting[0].make()
        return ReferenceGenerator(self._module, self._codec, vocab_size=self._vocab_size)

    def _refuse(self, reason: str) -> None:
        refusal = f"{self._waiting.pop(0).refusal}: {reason}"
        # If several links are refused for one reason, only the last refusal is shown.
        others = [earlier for earlier in self._reasons if not earlier.endswith(f": {reason}")]
        self._reasons = [*others, refusal]
