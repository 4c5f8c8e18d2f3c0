"""Read the header of a safetensors file and check it against the file's length, without torch.

Format (https://github.com/huggingface/safetensors#format): 8 bytes little-endian header length, that many
bytes of JSON, then the data, which the tensors must cover without gap or overlap.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from milepost.errors import CheckpointError
from milepost.sources.dtypes import BYTES_PER_ITEM, SAFETENSORS
from milepost.sources.regular_files import open_regular
from milepost.text.messages import shown

_MAX_HEADER_BYTES = 1 << 25
"""A third of the format's own limit; the header of 100,000 tensors has some 15 MB."""
MAX_TENSORS = 100_000
"""In one file; the largest models have as many in a hundred files."""
_MAX_DIMENSIONS = 64
"""torch's own limit."""
_FRAMEWORKS = frozenset({"pt", "tf", "flax", "mlx", "np"})


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file."""

    dtype: str
    """The format's name: `F32`, `BF16`, ..."""
    shape: tuple[int, ...]
    begin: int
    """Bytes from the start of the data."""
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a safetensors file."""

    tensors: dict[str, TensorEntry]
    data_begin: int
    """Offset of the data, in bytes from the start of the file."""
    data_bytes: int
    raw: bytes
    """The bytes of the file before its data."""


def read_header(path: Path) -> Header:
    """Read and check a file's header, without tensor data.

    Raises:
        CheckpointError: the file cannot be read, is cut short, or its header contradicts itself.
    """
    try:
        with open_regular(path) as file:
            n_file = os.fstat(file.fileno()).st_size
            length = file.read(8)
            n_header = int.from_bytes(length, "little")
            if _MAX_HEADER_BYTES < n_header <= n_file - 8:
                raise _broken(path, f"has a header of {n_header} bytes, longer than the header of any model")
            if n_file < 8 or n_header > n_file - 8:
                raise _broken(path, f"is cut short or not a safetensors file ({n_file} bytes)")
            text = file.read(n_header)
    except OSError as error:
        raise _broken(path, f"cannot be read: {error.strerror or error}") from error
    tensors = _entries(path, text)
    data_bytes = n_file - 8 - n_header
    _check_cover(path, tensors, data_bytes)
    return Header(tensors, 8 + n_header, data_bytes, length + text)


def _entries(path: Path, text: bytes) -> dict[str, TensorEntry]:
    try:
        header = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"has a header that does not parse: {error}") from error
    if not isinstance(header, dict):
        raise _broken(path, "has a header that is not a JSON object")
    if len(header) > MAX_TENSORS:
        raise _broken(path, f"lists {len(header)} tensors, more than any model has")
    _check_metadata(path, header.get("__metadata__", {}))
    return {name: _entry(path, name, raw) for name, raw in header.items() if name != "__metadata__"}


def _check_metadata(path: Path, metadata: Any) -> None:
    """Check that metadata are strings and the framework is one that transformers reads."""
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _broken(path, "has metadata that are not strings")
    if metadata.get("format", "pt") not in _FRAMEWORKS:
        raise _broken(path, f"has an unknown format: {shown(metadata['format'])}")


def _entry(path: Path, name: str, raw: Any) -> TensorEntry:
    if not isinstance(raw, dict):
        raise _broken(path, f"has an invalid description of tensor {shown(name)}")
    dtype, shape, offsets = raw.get("dtype"), raw.get("shape"), raw.get("data_offsets")
    if not (_is_sizes(shape) and _is_sizes(offsets) and len(offsets) == 2 and len(shape) <= _MAX_DIMENSIONS):
        raise _broken(path, f"has an invalid description of tensor {shown(name)}")
    if not isinstance(dtype, str) or dtype not in SAFETENSORS:
        raise _broken(path, f"holds tensor {shown(name)} in a type that cannot be read: {shown(dtype)}")
    entry = TensorEntry(dtype, tuple(shape), offsets[0], offsets[1])
    if math.prod(entry.shape) * BYTES_PER_ITEM[SAFETENSORS[dtype]] != entry.end - entry.begin:
        raise _broken(
            path, f"gives tensor {shown(name)} {entry.end - entry.begin} bytes, not what its shape needs"
        )
    return entry


def _check_cover(path: Path, tensors: dict[str, TensorEntry], data_bytes: int) -> None:
    position = 0
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            raise _broken(path, f"has a gap or an overlap before tensor {shown(name)}")
        position = entry.end
    if position != data_bytes:
        raise _broken(path, f"has {data_bytes} bytes of data where its header promises {position}")


def _is_sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) != len(pairs):
        raise ValueError("the same name appears twice")
    return named


def _broken(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{shown(path)} {what}", "copy or download the file again")
