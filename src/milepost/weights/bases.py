"""The model that a series of adapters changes, read once for all of them."""

from __future__ import annotations

from pathlib import Path

from milepost.sources import fetch, identify
from milepost.types import Checkpoint
from milepost.weights.adapters import Base
from milepost.weights.checkpoint import read_checkpoint
from milepost.weights.module import load_module


class Bases:
    """Keeps the base that was asked for last. One thread at a time may ask."""

    def __init__(self) -> None:
        self._model_id = ""
        self._base: Base | None = None
        self.n_read = 0
        """How many times a base was read."""

    def of(self, checkpoint: Checkpoint, cache_dir: Path, *, repair: bool = True) -> Base:
        """The model at a checkpoint, in memory; read only if it is another one than the last time.

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
            self._base = Base(weights.config, load_module(weights, "float32"))
            self._model_id = identity.model_id
            self.n_read += 1
        return self._base
