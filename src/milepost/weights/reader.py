"""Input and output of the readers of all formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import PretrainedConfig

from milepost.errors import CheckpointError
from milepost.sources.digests import check_read, sha256_now
from milepost.sources.names import shown

if TYPE_CHECKING:
    from milepost.weights.formats.peft.base_model import Base
    from milepost.weights.formats.peft.reader import Adapter
    from milepost.weights.in_memory_files import HeldFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A checkpoint to read."""

    folder: Path
    format: str
    config: PretrainedConfig
    config_file: Path | None
    """Path of the config; None if the checkpoint holds its config in another form."""
    sha256: Mapping[str, str]
    """Expected SHA-256 by path in the folder; files without an entry are not checked."""
    base: Base | None = None
    """The base model of an adapter."""
    held: HeldFiles | None = None
    """Files that were read already to identify the checkpoint."""

    def check_hashes(self) -> None:
        """Read every file that has an entry, and refuse one that is not what was identified.

        For formats whose reader does not hash what it reads.

        Raises:
            CheckpointError: naming the file.
        """
        for name, sha256 in self.sha256.items():
            check_read(self.folder / name, sha256_now(self.folder / name), sha256)


@dataclass(frozen=True, slots=True)
class Found:
    """The config and tensors that were read."""

    tensors: dict[str, torch.Tensor]
    """Tensors by transformers' names (or those of the checkpoint's index), on the CPU."""
    file_of: Mapping[str, str]
    """The file each tensor came from, by path in the folder."""
    config: PretrainedConfig | None = None
    """The config, where the weights say more of it than its file; None leaves it as it is."""
    warnings: tuple[str, ...] = ()
    adapter: Adapter | None = None
    """Merges an adapter's tensors into its base; None for whole models."""


def check_tied(folder: Path, config: PretrainedConfig, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse two copies of one weight that differ: input and output embedding of a model that ties them.

    Raises:
        CheckpointError: naming both.
    """
    if not getattr(config, "tie_word_embeddings", False) or "lm_head.weight" not in tensors:
        return
    head = tensors["lm_head.weight"]
    for name in ("model.embed_tokens.weight", "transformer.wte.weight"):
        if name in tensors and not torch.equal(tensors[name], head):
            raise CheckpointError(
                f"{shown(str(folder))}: {name} and lm_head.weight are one weight by its config, and differ"
            )
