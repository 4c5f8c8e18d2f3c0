"""Read a safetensors file into memory.

It is not memory-mapped: a training run that overwrites a mapped file would change the weights during an
evaluation, and one that truncates it would kill the process.
"""

from __future__ import annotations

from pathlib import Path

import torch

from milepost.sources.digests import check_read
from milepost.sources.dtypes import SAFETENSORS
from milepost.sources.formats.huggingface.safetensors_header import TensorEntry
from milepost.weights.in_memory_files import HeldFiles


def read_safetensors(
    path: Path, sha256: str | None = None, held: HeldFiles | None = None
) -> dict[str, torch.Tensor]:
    """Read a safetensors file into memory.

    It is not memory-mapped: a training run that overwrites a mapped file would change the weights during an
    evaluation, and one that truncates it would kill the process.
    """
    file = (held or HeldFiles()).take(path)
    if sha256 is not None:
        check_read(path, file.sha256, sha256)
    return {name: _tensor(file.data, entry) for name, entry in file.header.tensors.items()}


def _tensor(data: torch.Tensor, entry: TensorEntry) -> torch.Tensor:
    dtype: torch.dtype = getattr(torch, SAFETENSORS[entry.dtype])
    piece = data[entry.begin : entry.end]
    if entry.begin % dtype.itemsize:  # the format asks for no alignment
        piece = piece.clone()
    return piece.view(dtype).reshape(entry.shape)
