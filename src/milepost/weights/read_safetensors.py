"""The tensors of one safetensors file, read whole into memory.

Read and not memory-mapped: a mapped file that a training run overwrites would change under a running
evaluation, and one that it truncates would kill the process.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import torch

from milepost.errors import CheckpointError
from milepost.sources.digests import check_read
from milepost.sources.names import shown
from milepost.sources.regular import open_regular
from milepost.sources.safetensors_header import TensorEntry, read_header

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def read_safetensors(path: Path, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """All tensors of a file, on the CPU; they share one buffer.

    Args:
        sha256: what the bytes read must hash to (about 1 s per GB); None leaves them unchecked.

    Raises:
        CheckpointError: the file cannot be read, its header does not fit it, or its hash is another.
    """
    header = read_header(path)
    data = torch.empty(header.data_bytes, dtype=torch.uint8)
    try:
        with open_regular(path, buffering=0) as file:
            file.seek(header.data_begin)
            _fill(data.numpy().data, file)
    except OSError as error:
        raise CheckpointError(f"{shown(str(path))} cannot be read: {error.strerror or error}") from error
    if sha256 is not None:
        digest = hashlib.sha256(header.raw)
        digest.update(data.numpy().data)
        check_read(path, digest.hexdigest(), sha256)
    return {name: _tensor(data, entry) for name, entry in header.tensors.items()}


def _fill(buffer: memoryview, file: BinaryIO) -> None:
    position = 0
    while position < len(buffer):
        n_read = os.readv(file.fileno(), [buffer[position:]])
        if not n_read:
            raise OSError("it became shorter while it was read")
        position += n_read


def _tensor(data: torch.Tensor, entry: TensorEntry) -> torch.Tensor:
    dtype = _DTYPES[entry.dtype]
    piece = data[entry.begin : entry.end]
    if entry.begin % dtype.itemsize:  # the format asks for no alignment
        piece = piece.clone()
    return piece.view(dtype).reshape(entry.shape)
