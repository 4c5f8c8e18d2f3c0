"""Tensors of a `torch.save` file, read one by one from where `sources.torch_archive` found them.

Read and not memory-mapped, for the reasons of `read_safetensors`; what is not asked for (optimizer states) is
never read. To load a file of which every tensor is wanted, `read_whole` does it in one go.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from milepost.errors import CheckpointError
from milepost.sources.names import shown
from milepost.sources.torch_archive import StoredTensor, read_archive

_BLOCK_ITEMS = 1 << 22
"""Compared at a time."""


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
            self.read_into(tensor, stored)
            return tensor
        spans = (n - 1 for n in stored.shape)
        n_items = 1 + sum(span * step for span, step in zip(spans, stored.stride, strict=True))
        items = torch.empty(n_items if tensor_items(stored) else 0, dtype=dtype)
        self._fill(items, stored.begin)
        return items.as_strided(stored.shape, stored.stride).contiguous()

    def holds(self, tensor: torch.Tensor, stored: StoredTensor) -> bool:
        """Whether a contiguous tensor is byte for byte the stored one (NaN is then equal to NaN).

        Raises:
            CheckpointError: the file became shorter, or cannot be read.
        """
        if tuple(tensor.shape) != stored.shape or tensor.dtype != getattr(torch, stored.dtype):
            return False
        if not is_contiguous(stored):
            return _same_bytes(tensor, self.read(stored))
        flat = tensor.view(-1)
        block = torch.empty(min(_BLOCK_ITEMS, flat.numel()), dtype=tensor.dtype)
        for first in range(0, flat.numel(), _BLOCK_ITEMS):
            part = block[: flat.numel() - first]
            self.read_into(part, stored, first)
            if not _same_bytes(flat[first : first + part.numel()], part):
                return False
        return True

    def read_into(self, target: torch.Tensor, stored: StoredTensor, first: int = 0) -> None:
        """Fill a contiguous tensor with elements of a contiguous one, beginning with element `first`.

        Raises:
            CheckpointError: the file became shorter, or cannot be read.
        """
        assert target.is_contiguous()
        self._fill(target, stored.begin + first * target.element_size())

    def _fill(self, target: torch.Tensor, begin: int) -> None:
        buffer = target.view(-1).view(torch.uint8).numpy().data
        position = 0
        try:
            while position < len(buffer):
                n_read = os.preadv(self._descriptor, [buffer[position:]], begin + position)
                if not n_read:
                    raise CheckpointError(f"{shown(str(self.path))} became shorter while it was read")
                position += n_read
        except OSError as error:
            raise CheckpointError(
                f"{shown(str(self.path))} cannot be read: {error.strerror or error}"
            ) from error


def _same_bytes(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


def tensor_items(stored: StoredTensor) -> int:
    """How many elements it has."""
    n_items = 1
    for size in stored.shape:
        n_items *= size
    return n_items


def is_contiguous(stored: StoredTensor) -> bool:
    """Whether its elements lie one after the other, the last dimension first."""
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
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CheckpointError(f"{shown(str(path))} cannot be read: {error.strerror}") from error
    try:
        yield OpenArchive(path, descriptor)
    finally:
        os.close(descriptor)


def read_whole(path: Path, allowed: Collection[str] = ()) -> Any:
    """All values of a file with their tensors, as `torch.load` gives them; classes become `StandIn`s.

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
