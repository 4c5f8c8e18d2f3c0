"""The packed engine: every distinct prefix once, no padding, logits only where a target is scored.

The sequences become a prefix tree, the tree is cut into packs, and each pack is one forward pass of the
model's own code with our attention in it (`attention_hook`). The needed hidden states are collected over
packs, so that the LM head runs on full blocks of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.accelerator import accelerator_of
from milepost.engine.attention_call import UnsupportedAttentionError, check_layers
from milepost.engine.attention_cpu import MAX_NARROW_SHARE, TileRunner
from milepost.engine.body_and_head import SplitModel
from milepost.engine.budget import fitting_budget
from milepost.engine.flex_variants import FlexUnavailableError
from milepost.engine.gpu_path import GpuPath
from milepost.engine.half_precision import upcast_matmuls
from milepost.engine.lm_head import DeferredHead
from milepost.engine.memory import BatchLimit
from milepost.engine.model_config import layer_count
from milepost.engine.model_inputs import check_tokens, sum_targets
from milepost.engine.optimizations import Optimizations
from milepost.engine.pack_loop import PackLoop
from milepost.engine.padded import PaddedEngine
from milepost.engine.positions import reset_positions
from milepost.engine.tree_cache import TreeCache
from milepost.engine.trial import Trials, reason_from_config, reason_from_positions
from milepost.plan.packs import cut_packs, halves, make_pack
from milepost.plan.sequences import longest

if TYPE_CHECKING:
    from milepost.engine.attention_call import KeysAndValues
    from milepost.types.sequences import Scores, Sequences


EXPECTED_LONGEST = 1024
"""Tokens of the longest sequence to come if it is not known."""
TILES_BUDGET = 4096
"""Tokens of a pack if SDPA runs in tiles on a GPU: it holds the logits of whole tiles."""


class PackedEngine:
    """Runs packs of unique tokens if that is right for the model, and padded batches if not."""

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        vocab_size: int,
        budget_tokens: int | None = None,
        optimizations: Optimizations | None = None,
        trial: Sequences | None = None,
    ) -> None:
        """Make an engine; the arguments are those of `build_engine`."""
        self.model = SplitModel(module)
        self.vocab_size = vocab_size
        self.optimizations = optimizations or Optimizations()
        self._budget = BatchLimit(budget_tokens or fitting_budget(module))
        self._given_budget = budget_tokens
        self._planned = trial
        self._trials = Trials(module, vocab_size, trial, upcast=self.optimizations.upcast_matmuls)
        self._n_layers = layer_count(module)
        self._trees = TreeCache(share_prefixes=self.optimizations.share_prefixes)
        self._trying = False
        self._padded: PaddedEngine | None = None
        self._without_flex: str | None = None
        """Reason why packs do not run with FlexAttention on a GPU."""
        self.gpu: GpuPath | None = None
        self._fall_back(reason_from_config(module))
        if self._padded is None:
            self._find_gpu_path()

    @property
    def name(self) -> str:
        """See `Engine.name`."""
        return self._padded.name if self._padded else "packed"

    @property
    def fallback(self) -> str | None:
        """See `Engine.fallback`."""
        if self._padded is not None:
            return self._padded.fallback
        return "; ".join(self.gpu.reasons) or None if self.gpu else self._without_flex

    @property
    def joins_shards(self) -> bool:
        """See `Engine.joins_shards`."""
        return self.gpu is not None and self._padded is None

    @property
    def budget_tokens(self) -> int:
        """Tokens of a full pack at present."""
        return self.gpu.settings.n_tokens if self.gpu else self._budget.limit

    @torch.inference_mode()
    def score(self, sequences: Sequences) -> Scores:
        """See `Engine.score`."""
        check_tokens(sequences, self.vocab_size)
        self._verify(sequences)
        reset_positions(self.model.module)
        if self._padded is not None:
            return self._padded.score(sequences)
        return self._score_joined_or_tiled(sequences)

    def score_stream(self, shards: Iterable[Sequences]) -> Iterator[Scores]:
        """See `Engine.score_stream`."""
        rest = PeekableShards(shards)
        while self.joins_shards and (group := self._verified_group(rest)) is not None:
            assert self.gpu is not None
            loop = PackLoop(self.gpu, group, longest=self._trials.verified_length)
            try:
                yield from loop.scores()
            except FlexUnavailableError as error:
                self._leave_flex(str(error))
                rest = PeekableShards(chain(loop.unfinished(), rest))
        for shard in rest:
            yield self.score(shard)

    def _verified_group(self, shards: PeekableShards) -> Iterator[Sequences] | None:
        """Return the next shards, up to the first with longer sequences than were tried.

        None if no shard is left or the next one cannot be joined with others.
        """
        first = shards.peek()
        if first is None:
            return None
        check_tokens(first, self.vocab_size)
        with torch.inference_mode():
            self._verify(first)
        reset_positions(self.model.module)
        if not self.joins_shards or self._trials.is_due(first):
            return None

        def group() -> Iterator[Sequences]:
            while (shard := shards.peek()) is not None and not self._trials.is_due(shard):
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
                self._trees,
                self.optimizations,
                n_layers=self._n_layers,
                vocab_size=self.vocab_size,
                n_tokens=self._given_budget,
                longest=EXPECTED_LONGEST if self._planned is None else longest(self._planned),
            )
        except FlexUnavailableError as error:
            self._leave_flex(str(error))
        except UnsupportedAttentionError as error:
            self._fall_back(str(error))

    def _leave_flex(self, reason: str) -> None:
        """Run SDPA in tiles from now on, as on a CPU."""
        self.gpu = None
        self._budget.limit = min(self._budget.limit, TILES_BUDGET)
        self._without_flex = f"attention runs in SDPA tiles, without FlexAttention: {reason}"

    def _verify(self, sequences: Sequences) -> None:
        """Try the engine before its first scores, and again for longer sequences than any tried before."""
        if self._padded is not None or not self._trials.is_due(sequences):
            return
        reason = reason_from_positions(self.model.module, self._trials.longest_input(sequences))
        if reason is not None:
            self._fall_back(reason)
            return
        trial = self._trials.trial(sequences)
        verdict = trial.verdict(self._try_packed)
        if verdict.reason is not None and self.gpu is not None:
            self._leave_flex(verdict.reason)
            verdict = trial.verdict(self._try_packed)
        if verdict.reason is not None and self.optimizations.narrow_last_layer:
            # This optimization depends most on the model's own code, so it is dropped first.
            self.optimizations = replace(self.optimizations, narrow_last_layer=False)
            verdict = trial.verdict(self._try_packed)
        self._trials.record(sequences, verdict)
        self._fall_back(verdict.reason)

    def _fall_back(self, reason: str | None) -> None:
        if reason is not None:
            self.gpu = None
            self._padded = PaddedEngine(
                self.model.module,
                vocab_size=self.vocab_size,
                budget_tokens=self._given_budget,
                fallback=f"the packed engine is not used: {reason}",
                trial=self._planned,
            )

    def _try_packed(self, sequences: Sequences, budget_tokens: int) -> Scores:
        """Score a few sequences in small packs; on a GPU with the runner of full size."""
        self._trying = True
        try:
            return self._score_joined_or_tiled(sequences, budget_tokens)
        finally:
            self._trying = False

    def _score_joined_or_tiled(self, sequences: Sequences, max_tokens: int | None = None) -> Scores:
        """Score a shard with FlexAttention or in tiles; `max_tokens` makes packs smaller than the budget."""
        if self.gpu is not None:
            try:
                loop = PackLoop(
                    self.gpu, iter([sequences]), longest=longest(sequences), max_tokens=max_tokens
                )
                return next(loop.scores())
            except FlexUnavailableError as error:
                self._leave_flex(str(error))
        with upcast_matmuls(self.model.module, wanted=self.optimizations.upcast_matmuls):
            return self._score_packs(sequences, max_tokens or self._budget.limit)

    def _score_packs(self, sequences: Sequences, max_tokens: int) -> Scores:
        tree, tiles = self._trees.tiled(sequences)
        # A trial narrows the last layer of every pack, as scoring may narrow it for another pack.
        max_narrow_share = 1.0 if self._trying else MAX_NARROW_SHARE
        runner = TileRunner(self.model, self.optimizations, self._n_layers, max_narrow_share)
        waiting = cut_packs(tree, tiles, max_tokens)[::-1]
        head = DeferredHead(self.model, self.vocab_size, chunked=self.optimizations.head_chunks)
        above: dict[int, KeysAndValues] = {}
        while waiting:
            span = waiting.pop()
            if span.stop - span.start > self._budget.limit:
                waiting.extend(halves(span)[::-1])
                continue
            pack = make_pack(tree, tiles, span)
            rows = pack.needed if self.optimizations.needed_head else np.arange(len(pack))
            output = None
            with self._budget.halving(len(pack)):
                output = runner.run(pack, above, rows)
            if output is None:
                waiting.append(span)
                continue
            if runner.layers:
                check_layers(runner.layers, self._n_layers)
            hidden_RD, above = output
            target_row = pack.target_row if self.optimizations.needed_head else pack.needed[pack.target_row]
            head.add(hidden_RD, target_row, pack.target, pack.sequence)
        return sum_targets(len(sequences), *head.finish())


class PeekableShards:
    """Shards of which the first can be read before it is taken."""

    def __init__(self, shards: Iterable[Sequences]) -> None:
        self._shards = iter(shards)
        self._first: Sequences | None = None

    def peek(self) -> Sequences | None:
        """Return the next shard, or None if no shard is left."""
        if self._first is None:
            self._first = next(self._shards, None)
        return self._first

    def take(self) -> Sequences:
        """Take the shard that `peek` returned."""
        assert self._first is not None
        shard, self._first = self._first, None
        return shard

    def __iter__(self) -> Iterator[Sequences]:
        while self.peek() is not None:
            yield self.take()
