"""The fast engine: every distinct prefix once, no padding, logits only where a target is scored.

The sequences become a prefix tree, the tree is cut into packs, and each pack is one forward pass of the
model's own code with our attention in it (`registry`). What is needed of the hidden states is collected over
packs, so that the head works on full blocks of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.accelerator import accelerator_of
from milepost.engine.attention_cpu import MAX_NARROW_ROWS, TileRunner
from milepost.engine.attention_hook import UnsupportedAttentionError
from milepost.engine.body_and_head import SplitModel
from milepost.engine.budget import fitting_budget
from milepost.engine.flex_variants import FlexUnavailableError
from milepost.engine.gpu_path import GpuPath
from milepost.engine.half_precision import upcast_matmuls
from milepost.engine.lm_head import DeferredHead
from milepost.engine.memory import is_out_of_memory
from milepost.engine.model_inputs import check_tokens, sum_targets
from milepost.engine.optimizations import Optimizations
from milepost.engine.padded import PaddedEngine
from milepost.engine.positions import reset_positions
from milepost.engine.tree_cache import TreeCache
from milepost.engine.trial import Trial, reason_from_config, reason_from_positions, text_config
from milepost.plan.packs import Span, cut_packs, halves, make_pack
from milepost.plan.sequences import longest

if TYPE_CHECKING:
    from milepost.engine.attention_hook import KeysAndValues
    from milepost.types import Scores, Sequences


EXPECTED_LONGEST = 1024
"""Tokens of a sequence where no trial says what will come."""
TILES_BUDGET = 4096
"""Tokens of a pack where SDPA runs in tiles on a GPU: it holds the scores of whole tiles."""


class PackedEngine:
    """Packs of unique tokens where the model can be trusted with them, padded batches where not."""

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        vocab_size: int,
        budget_tokens: int | None = None,
        optimizations: Optimizations | None = None,
        trial: Sequences | None = None,
    ) -> None:
        self.model = SplitModel(module)
        self.vocab_size = vocab_size
        self.optimizations = optimizations or Optimizations()
        self._budget = budget_tokens or fitting_budget(module)
        self._given_budget = budget_tokens
        self._trial = trial
        self._n_layers = getattr(text_config(module), "num_hidden_layers", 0)
        self._layouts = TreeCache(share_prefixes=self.optimizations.share_prefixes)
        self._verified_length = 0
        self._trying = False
        self._padded: PaddedEngine | None = None
        self._slower: str | None = None
        """Why packs do not run with FlexAttention on a GPU."""
        self.gpu: GpuPath | None = None
        self._fall_back(reason_from_config(module))
        if self._padded is None:
            self._find_gpu_path()

    @property
    def name(self) -> str:
        return self._padded.name if self._padded else "packed"

    @property
    def fallback(self) -> str | None:
        if self._padded is not None:
            return self._padded.fallback
        return "; ".join(self.gpu.reasons) or None if self.gpu else self._slower

    @property
    def joins_shards(self) -> bool:
        """See `Engine.joins_shards`."""
        return self.gpu is not None and self._padded is None

    @property
    def budget_tokens(self) -> int:
        """Tokens of a full pack, as things stand."""
        return self.gpu.settings.n_tokens if self.gpu else self._budget

    @torch.inference_mode()
    def score(self, sequences: Sequences) -> Scores:
        check_tokens(sequences, self.vocab_size)
        self._verify(sequences)
        reset_positions(self.model.module)
        if self._padded is not None:
            return self._padded.score(sequences)
        return self._score_joined_or_tiled(sequences, None)

    def score_stream(self, shards: Iterable[Sequences]) -> Iterator[Scores]:
        """See `Engine.score_stream`."""
        rest = PeekableShards(shards)
        while self.joins_shards and (group := self._trusted(rest)) is not None:
            assert self.gpu is not None
            loop = self.gpu.loop(group, longest=self._verified_length)
            try:
                yield from loop.scores()
            except FlexUnavailableError as error:
                self._leave_flex(str(error))
                rest = PeekableShards(chain(loop.unfinished(), rest))
        for shard in rest:
            yield self.score(shard)

    def _trusted(self, shards: PeekableShards) -> Iterator[Sequences] | None:
        """The next shards up to the first with longer sequences than were tried; None where none can be
        joined."""
        first = shards.peek()
        if first is None:
            return None
        check_tokens(first, self.vocab_size)
        with torch.inference_mode():
            self._verify(first)
        reset_positions(self.model.module)
        if not self.joins_shards or longest(first) > self._verified_length:
            return None

        def group() -> Iterator[Sequences]:
            while (shard := shards.peek()) is not None and longest(shard) <= self._verified_length:
                check_tokens(shard, self.vocab_size)
                yield shards.take()

        return group()

    def _find_gpu_path(self) -> None:
        device = self.model.device
        accelerator = accelerator_of(device)
        if accelerator is None:
            if device.type != "cpu":
                self._leave_flex(f"FlexAttention has no kernel for {device.type}")
            return
        try:
            self.gpu = GpuPath(
                self.model,
                accelerator,
                self._layouts,
                self.optimizations,
                n_layers=self._n_layers,
                vocab_size=self.vocab_size,
                n_tokens=self._given_budget,
                longest=EXPECTED_LONGEST if self._trial is None else longest(self._trial),
            )
        except FlexUnavailableError as error:
            self._leave_flex(str(error))
        except UnsupportedAttentionError as error:
            self._fall_back(str(error))

    def _leave_flex(self, reason: str) -> None:
        """From now on SDPA in tiles, as on a CPU."""
        self.gpu = None
        self._budget = min(self._budget, TILES_BUDGET)
        self._slower = f"attention runs in SDPA tiles, without FlexAttention: {reason}"

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
        if verdict.reason is not None and self.gpu is not None:
            self._leave_flex(verdict.reason)
            verdict = trial.verdict(self._try_packed)
        if verdict.reason is not None and self.optimizations.narrow_last_layer:
            # What goes furthest into the model's own code is given up first.
            self.optimizations = replace(self.optimizations, narrow_last_layer=False)
            verdict = trial.verdict(self._try_packed)
        if verdict.compared:
            self._verified_length = longest(sequences)
        self._fall_back(verdict.reason)

    def _fall_back(self, reason: str | None) -> None:
        if reason is not None:
            self.gpu = None
            self._padded = PaddedEngine(
                self.model.module,
                vocab_size=self.vocab_size,
                budget_tokens=self._given_budget,
                fallback=f"the packed engine is not used: {reason}",
                trial=self._trial,
            )

    def _try_packed(self, sequences: Sequences, budget_tokens: int) -> Scores:
        """Score a few sequences in small packs, on a GPU through the runner of full size."""
        self._trying = True
        try:
            return self._score_joined_or_tiled(sequences, budget_tokens)
        finally:
            self._trying = False

    def _score_joined_or_tiled(self, sequences: Sequences, max_tokens: int | None) -> Scores:
        """One shard by the way that works here; `max_tokens` cuts packs smaller than they need be."""
        if self.gpu is not None:
            try:
                return self.gpu.score(sequences, longest=longest(sequences), max_tokens=max_tokens)
            except FlexUnavailableError as error:
                self._leave_flex(str(error))
        return self._score_packed(sequences, max_tokens or self._budget)

    def _score_packed(self, sequences: Sequences, budget_tokens: int) -> Scores:
        with upcast_matmuls(self.model.module, wanted=self.optimizations.upcast_matmuls):
            return self._score_packs(sequences, budget_tokens)

    def _score_packs(self, sequences: Sequences, budget_tokens: int) -> Scores:
        tree, tiles = self._layouts.of(sequences)
        # A trial narrows every pack, as it may be another one that scoring narrows.
        most_narrow = 1.0 if self._trying else MAX_NARROW_ROWS
        runner = TileRunner(self.model, self.optimizations, self._n_layers, most_narrow)
        waiting = cut_packs(tree, tiles, budget_tokens)[::-1]
        head = DeferredHead(self.model, self.vocab_size, chunked=self.optimizations.head_chunks)
        above: dict[int, KeysAndValues] = {}
        while waiting:
            span = waiting.pop()
            pack = make_pack(tree, tiles, span)
            rows = pack.needed if self.optimizations.needed_head else np.arange(len(pack))
            try:
                hidden_RD, kept = runner.run(pack, above, rows)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(pack) == 1:
                    raise
                waiting = self._halved([span, *waiting[::-1]])[::-1]
                continue
            self._check_layers(runner)
            above = kept
            target_row = pack.target_row if self.optimizations.needed_head else pack.needed[pack.target_row]
            head.add(hidden_RD, target_row, pack.target, pack.sequence)
        return sum_targets(len(sequences), *head.finish())

    def _check_layers(self, runner: TileRunner) -> None:
        if runner.layers and sorted(runner.layers) != list(range(self._n_layers)):
            raise UnsupportedAttentionError(
                f"its attention was called {len(runner.layers)} times for {self._n_layers} layers"
            )

    def _halved(self, spans: list[Span]) -> list[Span]:
        """The packs that are still to run, none larger than half of the first one, which did not fit."""
        limit = (spans[0].stop - spans[0].start + 1) // 2
        self._budget = min(self._budget, limit)
        cut: list[Span] = []
        waiting = spans[::-1]
        while waiting:
            span = waiting.pop()
            if span.stop - span.start > limit:
                waiting.extend(halves(span)[::-1])
            else:
                cut.append(span)
        return cut


class PeekableShards:
    """Shards of which the first can be looked at before it is taken."""

    def __init__(self, shards: Iterable[Sequences]) -> None:
        self._shards = iter(shards)
        self._first: Sequences | None = None

    def peek(self) -> Sequences | None:
        """The next shard; None where there is none."""
        if self._first is None:
            self._first = next(self._shards, None)
        return self._first

    def take(self) -> Sequences:
        """The shard that `peek` showed."""
        assert self._first is not None
        shard, self._first = self._first, None
        return shard

    def __iter__(self) -> Iterator[Sequences]:
        while self.peek() is not None:
            yield self.take()
