"""Read a safetensors file whole into memory.

Read and not memory-mapped: a mapped file that a training run overwrites would change under a running
evaluation, and one that it truncates would kill the process.
"""

from __future__ import annotations

from pathlib import Path

import torch

from milepost.sources.digests import check_read
from milepost.sources.formats.huggingface.safetensors_header import TensorEntry
from milepost.weights.in_memory_files import HeldFiles

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def read_safetensors(
    path: Path, sha256: str | None = None, held: HeldFiles | None = None
) -> dict[str, torch.Tensor]:
    """Read all tensors of a file, on the CPU; they share one buffer.

    Args:
        sha256: what the bytes read must hash to; None leaves them unchecked.
        held: files that were read already, this one perhaps among them.

    Raises:
        CheckpointError: the file cannot be read, its header does not fit it, or its hash is another.
    """
    file = (held or HeldFiles()).take(path)
    if sha256 is not None:
        check_read(path, file.sha256, sha256)
    return {name: _tensor(file.data, entry) for name, entry in file.header.tensors.items()}


def _tensor(data: torch.Tensor, entry: TensorEntry) -> torch.Tensor:
    dtype = _DTYPES[entry.dtype]
    piece = data[entry.begin : entry.end]
    if entry.begin % dtype.itemsize:  # the format asks for no alignment
        piece = piece.clone()
    return piece.view(dtype).reshape(entry.shape)
