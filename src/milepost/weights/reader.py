"""Interface of the readers of `weights/formats/`: request, result and reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PretrainedConfig

from milepost.errors import CheckpointError
from milepost.sources.digests import check_read, sha256_now
from milepost.text.messages import shown
from milepost.weights.adapter import Adapter, Base
from milepost.weights.in_memory_files import HeldFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """A checkpoint to read."""

    folder: Path
    format: str
    config: PretrainedConfig
    config_file: Path | None
    """The file of the config; None if the config comes from elsewhere in the checkpoint."""
    sha256: Mapping[str, str]
    """Path of a weight file in the folder to its expected SHA-256; files without an entry are not checked."""
    base: Base | None = None
    """The base model of an adapter."""
    held: HeldFiles | None = None
    """Files that were read already, to identify the checkpoint."""

    def check_hashes(self) -> None:
        """Check the SHA-256 of every file with an entry, for readers that do not hash what they read.

        Raises:
            CheckpointError: a file is not the one that was identified.
        """
        for name, sha256 in self.sha256.items():
            check_read(self.folder / name, sha256_now(self.folder / name), sha256)


@dataclass(frozen=True, slots=True)
class ReadResult:
    """The weights of a checkpoint."""

    tensors: dict[str, torch.Tensor]
    """By transformers' names (or those of the checkpoint's own index), on the CPU."""
    file_of: Mapping[str, str]
    """Tensor name to the path of its file in the folder."""
    config: PretrainedConfig | None = None
    """The config, if the weights say more about it than its file; None to keep the file's."""
    warnings: tuple[str, ...] = ()
    adapter: Adapter | None = None
    """The adapter whose tensors these are; None for whole models."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Functions that read checkpoints of one format."""

    read: Callable[[ReadRequest], ReadResult]
    config: Callable[[Path], PretrainedConfig] | None = None
    """Derives the config from a checkpoint's folder; None for formats with a `config.json`."""


def check_tied(folder: Path, config: PretrainedConfig, tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that input and output embedding are equal in a model that ties them.

    Raises:
        CheckpointError: they differ.
    """
    if not getattr(config, "tie_word_embeddings", False) or "lm_head.weight" not in tensors:
        return
    head = tensors["lm_head.weight"]
    for name in ("model.embed_tokens.weight", "transformer.wte.weight"):
        if name in tensors and not torch.equal(tensors[name], head):
            raise CheckpointError(
                f"{shown(folder)}: {name} and lm_head.weight are one weight by its config, but differ"
            )
