"""Keep the base model of a series of adapters, read once."""

from __future__ import annotations

from pathlib import Path

from transformers import PretrainedConfig, PreTrainedModel

from milepost.sources import fetch, identify
from milepost.types import Checkpoint
from milepost.weights.checkpoint import CheckpointWeights, read_checkpoint
from milepost.weights.module import load_module
from milepost.weights.process_state import PROCESS_STATE


class Base:
    """The model that adapters change. Its module is made when the first of them is merged."""

    def __init__(self, weights: CheckpointWeights) -> None:
        self.config: PretrainedConfig = weights.config
        self._weights = weights
        self._module: PreTrainedModel | None = None

    @property
    def module(self) -> PreTrainedModel:
        """Return the base model on the CPU, in float32; it is never changed.

        Raises:
            CheckpointError: the base's weights do not fit its config.
        """
        with PROCESS_STATE:
            if self._module is None:
                self._module = load_module(self._weights, "float32")
                self._weights.tensors.clear()
            return self._module


class Bases:
    """Keeps the base that was asked for last. One thread at a time may ask."""

    def __init__(self) -> None:
        self._model_id = ""
        self._base: Base | None = None
        self.n_read = 0
        """How many times a base was read."""

    def of(self, checkpoint: Checkpoint, cache_dir: Path, *, repair: bool = True) -> Base:
        """The model at a checkpoint; read only if it is another one than the last time.

        Only files are read, so it may run in a thread; the module is made when an adapter is merged.

        Args:
            cache_dir, repair: as in `sources.fetch`.

        Raises:
            CheckpointError: it cannot be had, or is damaged.
        """
        identity = identify(checkpoint, cache_dir)
        if self._base is None or self._model_id != identity.model_id:
            self._base = None  # frees the other one first
            sums = {file.name: file.sha256 for file in identity.files}
            folder = fetch(checkpoint, cache_dir, repair=repair)
            weights = read_checkpoint(folder, checkpoint.format, sums, config_file=checkpoint.config)
            self._base = Base(weights)
            self._model_id = identity.model_id
            self.n_read += 1
        return self._base
