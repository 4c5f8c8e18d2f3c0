"""The packed engine on a GPU: what it knows of model and card, from one stream of shards to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from milepost.engine.attention_gpu import FlexRunner, RunnerSettings
from milepost.engine.flex_variants import FlexVariants
from milepost.engine.gpu_memory import MemoryModel, pack_cache_bytes, staging_bytes
from milepost.engine.gpu_packs import PackCache
from milepost.engine.layer_shapes import layer_shapes
from milepost.engine.memory import is_out_of_memory
from milepost.engine.pack_loop import PackLoop
from milepost.engine.trial import text_config

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator
    from milepost.engine.body_and_head import SplitModel
    from milepost.engine.gpu_packs import StagedPack
    from milepost.engine.optimizations import Optimizations
    from milepost.engine.tree_cache import TreeCache
    from milepost.plan.joined_shards import JoinedPack
    from milepost.types import Scores, Sequences


@dataclass(slots=True)
class Counts:
    """What the path has done so far."""

    packs: int = 0
    """Forward passes whose results were used."""
    tokens: int = 0
    """Tokens in them."""
    slots: int = 0
    """The same with padding."""
    redone: int = 0
    """Packs with something that was no number, run again in the careful way."""


class GpuPath:
    """Scores streams of shards with one model, whose weights may change between streams."""

    def __init__(
        self,
        model: SplitModel,
        accelerator: Accelerator,
        layouts: TreeCache,
        optimizations: Optimizations,
        *,
        n_layers: int,
        vocab_size: int,
        n_tokens: int | None,
        longest: int,
    ) -> None:
        """Make what the packed engine keeps.

        Args:
            n_tokens: of a full pack; None for what the card has room for.
            longest: tokens of the longest sequence that is expected.

        Raises:
            FlexUnavailableError: the card or the dtype is not for FlexAttention.
            UnsupportedAttentionError: the model is not for packs.
        """
        self.model = model
        self.accelerator = accelerator
        self.layouts = layouts
        self.vocab_size = vocab_size
        self.counts = Counts()
        self._switches = optimizations
        # Graphs of a module that is gone count towards torch's limit, and keep it in memory.
        torch.compiler.reset()
        with torch.inference_mode():
            self._shapes = layer_shapes(model, n_layers)
        self._windows = {shape.window for shape in self._shapes}
        free = accelerator.free_bytes()
        self.staging_bytes = staging_bytes(model.module, free) if optimizations.stage_weights else 0
        """Set aside for the next checkpoint's weights."""
        free -= self.staging_bytes
        memory = MemoryModel.of(text_config(model.module), self._shapes, vocab_size)
        fitting = memory.fitting_tokens(free, longest, accelerator.max_tokens)
        self._variants = FlexVariants(
            accelerator, self._shapes, n_tokens or fitting, graphs=optimizations.pack_graphs
        )
        self._pack_cache = PackCache(accelerator, pack_cache_bytes(free))
        self._runner: FlexRunner | None = None

    @property
    def settings(self) -> RunnerSettings:
        """How packs are run."""
        return self._variants.settings

    @property
    def reasons(self) -> list[str]:
        """Why a faster way is not taken, a line each."""
        return self._variants.reasons

    @property
    def n_uploaded(self) -> int:
        """Packs that were not found on the device."""
        return self._pack_cache.n_uploaded

    @property
    def runner(self) -> FlexRunner:
        """The runner of the present way."""
        if self._runner is None or self._runner.settings != self.settings:
            self._runner = None  # its memory is needed for the new one
            with torch.inference_mode():
                self._runner = FlexRunner(self.model, self.accelerator, self._shapes, self.settings)
        return self._runner

    def loop(self, shards: Iterator[Sequences], *, longest: int, max_tokens: int | None = None) -> PackLoop:
        """What scores a stream of shards.

        Args:
            longest: tokens of the longest sequence that will come.
            max_tokens: cuts packs smaller than they need be.
        """
        self._variants.with_context(longest)
        return PackLoop(self, shards, every_row=not self._switches.needed_head, max_tokens=max_tokens)

    def score(self, sequences: Sequences, *, longest: int, max_tokens: int | None) -> Scores:
        """One shard as a stream of its own."""
        return next(self.loop(iter([sequences]), longest=longest, max_tokens=max_tokens).scores())

    def in_place(self) -> AbstractContextManager[None]:
        """Within it, the model's layers are compiled and their attention is the runner's."""
        return self.runner.in_place()

    def stage(self, pack: JoinedPack) -> StagedPack:
        """The pack on the device."""
        return self._pack_cache.staged(pack, self.settings, self._windows)

    def step_down(self, failure: Exception) -> None:
        """Take another way after a failure; raises as `FlexVariants.step_down` does."""
        self._runner = None
        if is_out_of_memory(failure):
            self._pack_cache.clear()
            self.accelerator.free_unused()
        self._variants.step_down(failure)
