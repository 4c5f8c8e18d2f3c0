"""Read tensors of a `torch.save` file one by one, at the places that `sources.torch_archive` found.

Read and not memory-mapped, for the reasons of `read_safetensors`; what is not asked for (optimizer states) is
never read. To load a file of which every tensor is wanted, `read_whole` does it in one go.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from milepost.errors import CheckpointError
from milepost.sources.names import shown
from milepost.sources.regular_files import open_regular
from milepost.sources.torch_archive import StoredTensor, read_archive

_BLOCK_BYTES = 1 << 20
"""Read at a time where what is read goes on to another place: it stays in the processor's cache."""
_MOST_BUFFERS = 512
"""Given to the system in one call; it takes 1,024."""


class OpenArchive:
    """A file kept open, from which tensors are read. Several threads may read at once."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def read(self, stored: StoredTensor) -> torch.Tensor:
        """A tensor in memory of its own.

        Raises:
            CheckpointError: the file became shorter, or cannot be read.
        """
        dtype: torch.dtype = getattr(torch, stored.dtype)
        if is_contiguous(stored):
            tensor = torch.empty(stored.shape, dtype=dtype)
            self.read_into([tensor], stored)
            return tensor
        spans = (n - 1 for n in stored.shape)
        n_items = 1 + sum(span * step for span, step in zip(spans, stored.stride, strict=True))
        items = torch.empty(n_items if tensor_items(stored) else 0, dtype=dtype)
        self._fill([items], stored.begin)
        return items.as_strided(stored.shape, stored.stride).contiguous()

    def read_columns(self, target: torch.Tensor, stored: StoredTensor) -> None:
        """Fill a matrix whose rows lie apart with a contiguous one of its shape, a block of rows at a time.

        Raises:
            CheckpointError: the file became shorter, or cannot be read.
        """
        rows, columns = target.shape
        n_rows = max(1, _BLOCK_BYTES // max(1, columns * target.element_size()))
        block = torch.empty(min(n_rows, rows), columns, dtype=target.dtype)
        for first in range(0, rows, n_rows):
            part = block[: rows - first]
            self.read_into([part], stored, first * columns)
            target[first : first + len(part)].copy_(part)

    def holds(self, tensor: torch.Tensor, stored: StoredTensor) -> bool:
        """Return whether a contiguous tensor equals the stored one byte for byte (NaN equals NaN).

        Raises:
            CheckpointError: the file became shorter, or cannot be read.
        """
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
        """Fill contiguous tensors, one after the other, with the elements of a contiguous one.

        Args:
            first: the element to begin with.

        Raises:
            CheckpointError: the file became shorter, or cannot be read.
        """
        self._fill(targets, stored.begin + first * getattr(torch, stored.dtype).itemsize)

    def _fill(self, targets: Sequence[torch.Tensor], position: int) -> None:
        buffers = [target.view(-1).view(torch.uint8).numpy().data for target in targets]
        try:
            while buffers:
                n_read = os.preadv(self._descriptor, buffers[:_MOST_BUFFERS], position)
                if not n_read and any(map(len, buffers)):
                    raise CheckpointError(f"{shown(str(self.path))} became shorter while it was read")
                position += n_read
                buffers = _after(buffers, n_read)
        except OSError as error:
            raise CheckpointError(
                f"{shown(str(self.path))} cannot be read: {error.strerror or error}"
            ) from error


def _after(buffers: list[memoryview], n_bytes: int) -> list[memoryview]:
    """Return the buffers that remain after the first bytes are filled."""
    for number, buffer in enumerate(buffers):
        if n_bytes < len(buffer):
            return [buffer[n_bytes:], *buffers[number + 1 :]]
        n_bytes -= len(buffer)
    return []


def _same_bytes(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


def tensor_items(stored: StoredTensor) -> int:
    """Return the number of elements."""
    return math.prod(stored.shape)


def is_contiguous(stored: StoredTensor) -> bool:
    """Return whether the elements are contiguous in row-major order."""
    expected = 1
    for size, step in zip(reversed(stored.shape), reversed(stored.stride), strict=True):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True


@contextmanager
def open_archive(path: Path) -> Iterator[OpenArchive]:
    """The file, open for reading tensors.

    Raises:
        CheckpointError: it cannot be opened.
    """
    try:
        file = open_regular(path, buffering=0)
    except OSError as error:
        raise CheckpointError(f"{shown(str(path))} cannot be read: {error.strerror}") from error
    with file:
        yield OpenArchive(path, file.fileno())


def read_whole(path: Path, allowed: Collection[str] = ()) -> Any:
    """Return all values of a file with their tensors, as `torch.load` does; classes become `StandIn`s.

    Raises:
        CheckpointError: as `read_archive`.
    """
    values = read_archive(path, allowed)
    with open_archive(path) as archive:
        return _with_tensors(values, archive)


def _with_tensors(value: Any, archive: OpenArchive) -> Any:
    if isinstance(value, StoredTensor):
        return archive.read(value)
    if isinstance(value, dict):
        return {key: _with_tensors(inner, archive) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_with_tensors(inner, archive) for inner in value)
    return value
