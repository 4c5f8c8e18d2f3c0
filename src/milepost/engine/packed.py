"""The fast engine: every distinct prefix once, no padding, logits only where a target is scored.

The sequences become a prefix tree, the tree is cut into packs, and each pack is one forward pass of the
model's own code with our attention in it (`registry`). What is needed of the hidden states is collected over
packs, so that the head works on full blocks of rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.attention_cpu import MOST_NARROW_ROWS, TileRunner
from milepost.engine.attention_gpu import FlexRunner
from milepost.engine.base import ShardByShard
from milepost.engine.budget import fitting_budget
from milepost.engine.inputs import check_tokens, sum_targets
from milepost.engine.layouts import Layouts
from milepost.engine.memory import is_out_of_memory
from milepost.engine.padded import PaddedEngine
from milepost.engine.positions import fresh_positions
from milepost.engine.products import wide_products
from milepost.engine.registry import UnsupportedAttentionError
from milepost.engine.rows import DeferredHead
from milepost.engine.split import SplitModel
from milepost.engine.switches import Switches
from milepost.engine.trust import Trial, reason_from_config, reason_from_positions, text_config
from milepost.plan.packs import Span, cut_packs, halves, make_pack
from milepost.plan.sequences import longest

if TYPE_CHECKING:
    from milepost.engine.registry import KeysAndValues, PackRunner
    from milepost.types import Scores, Sequences


class PackedEngine(ShardByShard):
    """Packs of unique tokens where the model can be trusted with them, padded batches where not."""

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        vocab_size: int,
        budget_tokens: int | None = None,
        switches: Switches | None = None,
        trial: Sequences | None = None,
    ) -> None:
        self.model = SplitModel(module)
        self.vocab_size = vocab_size
        self.budget_tokens = budget_tokens or fitting_budget(module)
        self.switches = switches or Switches()
        self._given_budget = budget_tokens
        self._trial = trial
        self._n_layers = getattr(text_config(module), "num_hidden_layers", 0)
        self._layouts = Layouts(share_prefixes=self.switches.share_prefixes)
        self._verified_length = 0
        self._trying = False
        self._padded: PaddedEngine | None = None
        self._flex_runners: dict[tuple[int, int], FlexRunner] = {}
        self._fall_back(reason_from_config(module))

    @property
    def name(self) -> str:
        return self._padded.name if self._padded else "packed"

    @property
    def fallback(self) -> str | None:
        return self._padded.fallback if self._padded else None

    @torch.inference_mode()
    def score(self, sequences: Sequences) -> Scores:
        check_tokens(sequences, self.vocab_size)
        self._verify(sequences)
        fresh_positions(self.model.module)
        if self._padded is not None:
            return self._padded.score(sequences)
        return self._score_packed(sequences, self.budget_tokens)

    def _verify(self, sequences: Sequences) -> None:
        """A trial before the first scores, and again for longer sequences than any that were tried."""
        if self._padded is not None or longest(sequences) <= self._verified_length:
            return
        if self._trial is not None and longest(self._trial) >= longest(sequences):
            sequences = self._trial
        reason = reason_from_positions(self.model.module, longest(sequences) - 1)
        if reason is not None:
            self._fall_back(reason)
            return
        trial = Trial(self.model.module, self.vocab_size, sequences)
        verdict = trial.verdict(self._try_packed)
        if verdict.reason is not None and self.switches.narrow_last_layer:
            # What goes furthest into the model's own code is given up first.
            self.switches = replace(self.switches, narrow_last_layer=False)
            verdict = trial.verdict(self._try_packed)
        if verdict.compared:
            self._verified_length = longest(sequences)
        self._fall_back(verdict.reason)

    def _fall_back(self, reason: str | None) -> None:
        if reason is not None:
            self._padded = PaddedEngine(
                self.model.module,
                vocab_size=self.vocab_size,
                budget_tokens=self._given_budget,
                fallback=f"the packed engine is not used: {reason}",
                trial=self._trial,
            )

    def _try_packed(self, sequences: Sequences, budget_tokens: int) -> Scores:
        self._trying = True
        try:
            return self._score_packed(sequences, budget_tokens)
        finally:
            self._trying = False

    def _score_packed(self, sequences: Sequences, budget_tokens: int) -> Scores:
        with wide_products(self.model.module, wanted=self.switches.wide_products):
            return self._score_packs(sequences, budget_tokens)

    def _score_packs(self, sequences: Sequences, budget_tokens: int) -> Scores:
        tree, tiles = self._layouts.of(sequences)
        deepest = int(tree.pos.max(initial=0))
        runner = self._runner(budget_tokens, deepest)
        waiting = cut_packs(tree, tiles, budget_tokens, aligned=not self._on_gpu)[::-1]
        head = DeferredHead(self.model, self.vocab_size, chunked=self.switches.head_chunks)
        above: dict[int, KeysAndValues] = {}
        while waiting:
            span = waiting.pop()
            pack = make_pack(tree, tiles, span)
            rows = pack.needed if self.switches.needed_head else np.arange(len(pack))
            try:
                hidden_RD, kept = runner.run(pack, above, rows)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(pack) == 1:
                    raise
                waiting = self._halved([span, *waiting[::-1]])[::-1]
                runner = self._runner(self.budget_tokens, deepest)
                continue
            self._check_layers(runner)
            above = kept
            target_row = pack.target_row if self.switches.needed_head else pack.needed[pack.target_row]
            head.add(hidden_RD, target_row, pack.target, pack.sequence)
        return sum_targets(len(sequences), *head.finish())

    @property
    def _on_gpu(self) -> bool:
        return self.model.device.type == "cuda"

    def _runner(self, budget_tokens: int, deepest: int) -> PackRunner:
        if not self._on_gpu:
            # A trial narrows every pack, as it may be another one that scoring narrows.
            most_narrow = 1.0 if self._trying else MOST_NARROW_ROWS
            return TileRunner(self.model, self.switches, self._n_layers, most_narrow)
        # A power of two, so that the next sequences find the compiled body of these.
        n_context = 1 << max(deepest, 1).bit_length()
        if (budget_tokens, n_context) not in self._flex_runners:
            compiled = budget_tokens == self.budget_tokens
            self._flex_runners = {
                (budget_tokens, n_context): FlexRunner(
                    self.model, budget_tokens, n_context, compiled=compiled
                )
            }
        return self._flex_runners[budget_tokens, n_context]

    def _check_layers(self, runner: PackRunner) -> None:
        if runner.layers and sorted(runner.layers) != list(range(self._n_layers)):
            raise UnsupportedAttentionError(
                f"its attention was called {len(runner.layers)} times for {self._n_layers} layers"
            )

    def _halved(self, spans: list[Span]) -> list[Span]:
        """The packs that are still to run, none larger than half of the first one, which did not fit."""
        limit = (spans[0].stop - spans[0].start + 1) // 2
        self.budget_tokens = min(self.budget_tokens, limit)
        cut: list[Span] = []
        waiting = spans[::-1]
        while waiting:
            span = waiting.pop()
            if span.stop - span.start > limit:
                waiting.extend(halves(span)[::-1])
            else:
                cut.append(span)
        return cut
