"""Read the base model of a series of adapters once for all of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from transformers import PreTrainedModel

from milepost.sources import fetch, identify
from milepost.types.checkpoints import Checkpoint
from milepost.weights.adapter import Base
from milepost.weights.checkpoint import read_checkpoint
from milepost.weights.checkpoint_weights import CheckpointWeights
from milepost.weights.module import load_module


class Bases:
    """The base that was needed last. Not for several threads at once."""

    def __init__(self) -> None:
        self._model_id = ""
        self._base: Base | None = None
        self.n_read = 0
        """Number of times that a base was read."""

    def of(self, checkpoint: Checkpoint, cache_dir: Path, *, repair: bool = True) -> Base:
        """Return the base at a checkpoint, read again only if it is another one than the last.

        Only files are read, so a background thread may call it; the module is made when an adapter is merged.

        Args:
            cache_dir, repair: as in `sources.fetch`.

        Raises:
            CheckpointError: the base cannot be fetched or is damaged.
        """
        identity = identify(checkpoint, cache_dir)
        if self._base is None or self._model_id != identity.model_id:
            self._base = None  # free the other one first
            sums = {file.name: file.sha256 for file in identity.files}
            folder = fetch(checkpoint, cache_dir, repair=repair)
            weights = read_checkpoint(folder, checkpoint.format, sums, config_file=checkpoint.config)
            self._base = Base(weights.config, partial(_make_module, weights))
            self._model_id = identity.model_id
            self.n_read += 1
        return self._base


def _make_module(weights: CheckpointWeights) -> PreTrainedModel:
    module = load_module(weights, "float32")
    weights.tensors.clear()
    return module
