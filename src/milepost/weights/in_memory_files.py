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
from milepost.sources.digests import sha256_now
from milepost.sources.formats.huggingface.safetensors_header import Header, read_header
from milepost.sources.names import shown
from milepost.sources.regular_files import open_regular

if TYPE_CHECKING:
    from hashlib import _Hash

BLOCK_BYTES = 1 << 24
"""Read at once, while the block before is hashed."""


@dataclass(frozen=True, slots=True)
class FileBytes:
    """A whole safetensors file."""

    header: Header
    data: torch.Tensor
    """[B] bytes behind the header, on the CPU."""
    sha256: str
    """SHA-256 of the file, in hex."""


class HeldFiles:
    """Files read to be identified, kept until they are used, so that nothing is read or hashed twice."""

    def __init__(self, *, pinned: bool = False) -> None:
        """`pinned` memory is copied to a GPU without waiting; there is one copy of each file in any case."""
        self._pinned = pinned
        self._files: dict[Path, FileBytes] = {}
        self._seen: dict[Path, tuple[list[int], str]] = {}

    def sha256(self, path: Path) -> str:
        """The file's SHA-256 in hex; a safetensors file is kept for `take`, any other only read.

        Raises:
            CheckpointError: it cannot be read.
        """
        try:
            before = _times(path)
            if path in self._seen and self._seen[path][0] == before:
                return self._seen[path][1]
            file = read_file(path, pinned=self._pinned) if path.suffix == ".safetensors" else None
        except (OSError, CheckpointError):
            file = None  # whoever hashes or uses the file for good says what is wrong with it
        if file is None:
            return sha256_now(path)
        self._files[path], self._seen[path] = file, (before, file.sha256)
        return file.sha256

    def take(self, path: Path) -> FileBytes:
        """The file, no longer kept here; read now if it was not before.

        Raises:
            CheckpointError: it cannot be read, or its header does not fit it.
        """
        return self._files.pop(path, None) or read_file(path, pinned=self._pinned)


def read_file(path: Path, *, pinned: bool = False) -> FileBytes:
    """A safetensors file, hashed by a second thread while it is read.

    Raises:
        CheckpointError: it cannot be read, or its header does not fit it.
    """
    header = read_header(path)
    data = _bytes(header.data_bytes, pinned)
    digest = hashlib.sha256(header.raw)
    try:
        with open_regular(path, buffering=0) as file:
            file.seek(header.data_begin)
            _fill(data.numpy().data, file, digest)
    except OSError as error:
        raise CheckpointError(f"{shown(str(path))} cannot be read: {error.strerror or error}") from error
    return FileBytes(header, data, digest.hexdigest())


def _bytes(n: int, pinned: bool) -> torch.Tensor:
    if pinned and n:
        try:
            return torch.empty(n, dtype=torch.uint8, pin_memory=True)
        except RuntimeError:
            pass  # more than the system lets a process lock: ordinary memory will do
    try:
        return torch.empty(n, dtype=torch.uint8)
    except RuntimeError as error:
        raise CheckpointError(f"a weight file of {n:,} bytes does not fit in memory") from error


def _fill(buffer: memoryview, file: BinaryIO, digest: _Hash) -> None:
    """Read the rest of a file into `buffer` and add it to `digest`."""
    there: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def hash_what_is_there() -> None:
        done = 0
        while (end := there.get()) is not None:
            digest.update(buffer[done:end])
            done = end

    hashing = threading.Thread(target=hash_what_is_there, name="milepost-hash", daemon=True)
    hashing.start()
    position = 0
    try:
        while position < len(buffer):
            n_read = os.readv(file.fileno(), [buffer[position : position + BLOCK_BYTES]])
            if not n_read:
                raise OSError("it became shorter while it was read")
            position += n_read
            there.put(position)
    finally:
        there.put(None)
        hashing.join()


def _times(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]
