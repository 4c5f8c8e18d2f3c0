"""The packed engine's GPU path: model, card, memory and runner, kept between streams of shards."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from milepost.engine.attention_gpu import FlexRunner
from milepost.engine.flex_variants import FlexVariants
from milepost.engine.gpu_memory import MemoryModel, pack_cache_bytes, staging_bytes
from milepost.engine.gpu_packs import PackCache
from milepost.engine.gpu_values import RunnerSettings
from milepost.engine.layer_shapes import layer_shapes
from milepost.engine.memory import is_out_of_memory
from milepost.engine.model_config import text_config

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator
    from milepost.engine.body_and_head import SplitModel
    from milepost.engine.gpu_packs import StagedPack
    from milepost.engine.optimizations import Optimizations
    from milepost.engine.tree_cache import TreeCache
    from milepost.plan.joined_shards import JoinedPack


@dataclass(slots=True)
class Counts:
    """Counts of the path's work so far."""

    packs: int = 0
    """Forward passes whose results were used."""
    tokens: int = 0
    """Tokens of these passes."""
    slots: int = 0
    """Tokens with padding."""
    redone: int = 0
    """Packs with values that were not finite, run again in the careful mode."""


class GpuPath:
    """Scores streams of shards with one model, whose weights may change between streams."""

    def __init__(
        self,
        model: SplitModel,
        accelerator: Accelerator,
        trees: TreeCache,
        optimizations: Optimizations,
        *,
        n_layers: int,
        vocab_size: int,
        n_tokens: int | None,
        longest: int,
    ) -> None:
        """Probe the model and choose settings.

        Args:
            n_tokens: tokens of a full pack; None for as many as the card has room for.
            longest: tokens of the longest sequence that is expected.

        Raises:
            FlexUnavailableError: FlexAttention does not support the card or the dtype.
            UnsupportedAttentionError: the model cannot run in packs.
        """
        self.model = model
        self.accelerator = accelerator
        self.trees = trees
        self.vocab_size = vocab_size
        self.counts = Counts()
        self._optimizations = optimizations
        # Graphs of a deleted module count towards torch's limit, and keep the module in memory.
        torch.compiler.reset()
        with torch.inference_mode():
            self._shapes = layer_shapes(model, n_layers)
        self._windows = {shape.window for shape in self._shapes}
        free = accelerator.free_bytes()
        self.staging_bytes = staging_bytes(model.module, free) if optimizations.stage_weights else 0
        """Reserved for the next checkpoint's weights."""
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
        """The present settings of the runner."""
        return self._variants.settings

    @property
    def reasons(self) -> list[str]:
        """One-line reasons against faster settings."""
        return self._variants.reasons

    @property
    def n_uploaded(self) -> int:
        """Packs that were uploaded, as the device did not have them."""
        return self._pack_cache.n_uploaded

    @property
    def runner(self) -> FlexRunner:
        """The runner with the present settings."""
        if self._runner is None or self._runner.settings != self.settings:
            self._runner = None  # its memory is needed for the new one
            with torch.inference_mode():
                self._runner = FlexRunner(self.model, self.accelerator, self._shapes, self.settings)
        return self._runner

    def prepare(self, longest: int) -> None:
        """Prepare for shards whose longest sequence has so many tokens."""
        self._variants.with_context(longest)

    @property
    def computes_every_row(self) -> bool:
        """True if packs compute the logits of rows without targets too."""
        return not self._optimizations.needed_head

    def in_place(self) -> AbstractContextManager[None]:
        """Let the runner compute the model's layers while the context is open."""
        return self.runner.in_place()

    def stage(self, pack: JoinedPack) -> StagedPack:
        """Return the pack on the device."""
        return self._pack_cache.staged(pack, self.settings, self._windows)

    def step_down(self, failure: Exception) -> None:
        """Take slower settings after a failure; raises as `FlexVariants.step_down` does."""
        self._runner = None
        if is_out_of_memory(failure):
            self._pack_cache.clear()
            self.accelerator.free_unused()
        self._variants.step_down(failure)
