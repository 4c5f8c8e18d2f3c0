"""The config and tensors of one checkpoint in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PretrainedConfig

from milepost.text.messages import shown
from milepost.weights.adapter import Adapter


@dataclass(frozen=True, slots=True)
class CheckpointWeights:
    """One checkpoint in memory."""

    folder: Path
    config: PretrainedConfig
    tensors: dict[str, torch.Tensor]
    """By the names in the files, or transformers' own for other formats; on the CPU, in the files' dtypes."""
    file_of: Mapping[str, str]
    """Tensor name to the name of its file."""
    n_bytes: int
    warnings: tuple[str, ...] = ()
    """Unusual values that may be intended: matrices of zeros, NaN or Inf, another dtype than the config's."""
    adapter: Adapter | None = None
    """The adapter whose tensors these are, to be merged by `formats.peft.merging.merged`; None for models."""

    def file_with(self, tensor: str) -> str:
        """Return the path of a tensor's file, for messages; if unknown, of the only file or of the folder."""
        files = set(self.file_of.values())
        only = next(iter(files)) if len(files) == 1 else ""
        return shown(self.folder / self.file_of.get(tensor, only))
