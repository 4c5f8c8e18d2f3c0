"""Read single tensors of a `torch.save` file, at the places that `sources.torch_archive` gives.

They are read and not memory-mapped, for the reasons in `formats/huggingface/safetensors.py`; other tensors of
the file (optimizer states) are never read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from milepost.errors import CheckpointError
from milepost.sources.regular_files import open_regular
from milepost.sources.torch_archive import StoredTensor
from milepost.text.messages import shown

_BLOCK_BYTES = 1 << 20
"""Bytes read at a time for copying or comparing, so that they stay in the processor's cache."""
_MOST_BUFFERS = 512
"""Buffers per system call; the limit is 1,024."""


class OpenArchive:
    """An open file from which tensors are read; several threads may read at once.

    Its methods raise a CheckpointError if the file became shorter, or cannot be read.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def read(self, stored: StoredTensor) -> torch.Tensor:
        """Read a tensor into new memory."""
        dtype: torch.dtype = getattr(torch, stored.dtype)
        if is_contiguous(stored):
            tensor = torch.empty(stored.shape, dtype=dtype)
            self.read_into([tensor], stored)
            return tensor
        spans = (n - 1 for n in stored.shape)
        n_items = 1 + sum(span * step for span, step in zip(spans, stored.stride, strict=True))
        items = torch.empty(n_items if stored.n_items else 0, dtype=dtype)
        self._fill([items], stored.begin)
        return items.as_strided(stored.shape, stored.stride).contiguous()

    def read_columns(self, target: torch.Tensor, stored: StoredTensor) -> None:
        """Fill a matrix with distant rows from a contiguous one of its shape, a block of rows at a time."""
        rows, columns = target.shape
        n_rows = max(1, _BLOCK_BYTES // max(1, columns * target.element_size()))
        block = torch.empty(min(n_rows, rows), columns, dtype=target.dtype)
        for first in range(0, rows, n_rows):
            part = block[: rows - first]
            self.read_into([part], stored, first * columns)
            target[first : first + len(part)].copy_(part)

    def holds(self, tensor: torch.Tensor, stored: StoredTensor) -> bool:
        """Return True if a contiguous tensor equals the stored one byte for byte (NaN equals NaN)."""
        if tuple(tensor.shape) != stored.shape or tensor.dtype != getattr(torch, stored.dtype):
            return False
        if not is_contiguous(stored):
            return _same_bytes(tensor, self.read(stored))
        flat = tensor.view(-1)
        n_items = _BLOCK_BYTES // tensor.element_size()
        block = torch.empty(min(n_items, flat.numel()), dtype=tensor.dtype)
        for first in range(0, flat.numel(), n_items):
            part = block[: flat.numel() - first]
            self.read_into([part], stored, first)
            if not _same_bytes(flat[first : first + part.numel()], part):
                return False
        return True

    def read_into(self, targets: Sequence[torch.Tensor], stored: StoredTensor, first: int = 0) -> None:
        """Fill contiguous tensors, one after the other, from element `first` of a contiguous stored one."""
        self._fill(targets, stored.begin + first * getattr(torch, stored.dtype).itemsize)

    def _fill(self, targets: Sequence[torch.Tensor], position: int) -> None:
        buffers = [target.view(-1).view(torch.uint8).numpy().data for target in targets]
        try:
            while buffers:
                n_read = os.preadv(self._descriptor, buffers[:_MOST_BUFFERS], position)
                if not n_read and any(map(len, buffers)):
                    raise CheckpointError(f"{shown(self.path)} became shorter while it was read")
                position += n_read
                buffers = _after(buffers, n_read)
        except OSError as error:
            raise CheckpointError(f"{shown(self.path)} cannot be read: {error.strerror or error}") from error


def _after(buffers: list[memoryview], n_bytes: int) -> list[memoryview]:
    """Return the buffers that remain after the first bytes are filled."""
    for number, buffer in enumerate(buffers):
        if n_bytes < len(buffer):
            return [buffer[n_bytes:], *buffers[number + 1 :]]
        n_bytes -= len(buffer)
    return []


def _same_bytes(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


def is_contiguous(stored: StoredTensor) -> bool:
    """Return True if the elements are contiguous in row-major order."""
    expected = 1
    for size, step in zip(reversed(stored.shape), reversed(stored.stride), strict=True):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True


@contextmanager
def open_archive(path: Path) -> Iterator[OpenArchive]:
    """Open a file for reading tensors.

    Raises:
        CheckpointError: the file cannot be opened.
    """
    try:
        file = open_regular(path, buffering=0)
    except OSError as error:
        raise CheckpointError(f"{shown(path)} cannot be read: {error.strerror}") from error
    with file:
        yield OpenArchive(path, file.fileno())
