"""Read safetensors files into memory once and hash them meanwhile, to identify and then use them."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import torch

from milepost.errors import CheckpointError
from milepost.sources.digests import sha256_now, signature_of
from milepost.sources.formats.huggingface.safetensors_header import Header, read_header
from milepost.sources.regular_files import open_regular
from milepost.sources.unreadable_files import unreadable

if TYPE_CHECKING:
    from hashlib import _Hash

BLOCK_BYTES = 1 << 24
"""Bytes read at once, while the block before is hashed."""


@dataclass(frozen=True, slots=True)
class FileBytes:
    """A whole safetensors file."""

    header: Header
    data: torch.Tensor
    """[B] bytes after the header, on the CPU."""
    sha256: str
    """SHA-256 of the file, in hex."""


class HeldFiles:
    """Files that were read to identify a checkpoint, kept so that each is read and hashed once."""

    def __init__(self, *, pinned: bool = False) -> None:
        """Set whether files are read to pinned memory, which is copied to a GPU without waiting."""
        self._pinned = pinned
        self._files: dict[Path, FileBytes] = {}
        self._seen: dict[Path, tuple[list[int], str]] = {}

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file in hex; keep a safetensors file for `take`.

        Raises:
            CheckpointError: the file cannot be read.
        """
        try:
            before = signature_of(path)
            if path in self._seen and self._seen[path][0] == before:
                return self._seen[path][1]
            file = read_file(path, pinned=self._pinned) if path.suffix == ".safetensors" else None
        except (OSError, CheckpointError):
            file = None  # the next reading raises the error
        if file is None:
            return sha256_now(path)
        self._files[path], self._seen[path] = file, (before, file.sha256)
        return file.sha256

    def take(self, path: Path) -> FileBytes:
        """Return a file and stop keeping it; read it now if it is not kept.

        Raises:
            CheckpointError: the file cannot be read, or its header does not fit it.
        """
        return self._files.pop(path, None) or read_file(path, pinned=self._pinned)


def read_file(path: Path, *, pinned: bool = False) -> FileBytes:
    """Read a safetensors file; a second thread hashes it meanwhile.

    Raises:
        CheckpointError: the file cannot be read, or its header does not fit it.
    """
    header = read_header(path)
    data = _bytes(header.data_bytes, pinned)
    digest = hashlib.sha256(header.raw)
    try:
        with open_regular(path, buffering=0) as file:
            file.seek(header.data_begin)
            _fill(data.numpy().data, file, digest)
    except OSError as error:
        raise unreadable(path, error) from error
    return FileBytes(header, data, digest.hexdigest())


def _bytes(n: int, pinned: bool) -> torch.Tensor:
    if pinned and n:
        try:
            return torch.empty(n, dtype=torch.uint8, pin_memory=True)
        except RuntimeError:
            pass  # more than a process may lock: use ordinary memory
    try:
        return torch.empty(n, dtype=torch.uint8)
    except RuntimeError as error:
        raise CheckpointError(f"a weight file of {n:,} bytes does not fit in memory") from error


def _fill(buffer: memoryview, file: BinaryIO, digest: _Hash) -> None:
    """Read the rest of a file into `buffer` and add it to `digest`."""
    ends: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def hash_read_bytes() -> None:
        done = 0
        while (end := ends.get()) is not None:
            digest.update(buffer[done:end])
            done = end

    hashing = threading.Thread(target=hash_read_bytes, name="milepost-hash", daemon=True)
    hashing.start()
    position = 0
    try:
        while position < len(buffer):
            n_read = os.readv(file.fileno(), [buffer[position : position + BLOCK_BYTES]])
            if not n_read:
                raise OSError("it became shorter while it was read")
            position += n_read
            ends.put(position)
    finally:
        ends.put(None)
        hashing.join()
