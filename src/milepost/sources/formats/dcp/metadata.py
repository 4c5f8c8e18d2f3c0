"""Read and check the `.metadata` of a torch.distributed checkpoint (DCP): tensors, their pieces, their files.

It is a pickle, read by `safe_unpickler` without torch; only names that torch and Megatron write are allowed,
and every value is checked. Source: torch/distributed/checkpoint, metadata.py and filesystem.py, torch 2.2 to
2.13.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.sources.digests import signature_of
from milepost.sources.dtypes import BYTES_PER_ITEM
from milepost.sources.formats.format import is_plain
from milepost.sources.regular_files import open_regular
from milepost.sources.safe_unpickler import ForbiddenName, SafeUnpickler, StandIn
from milepost.sources.unreadable_files import unreadable
from milepost.text.messages import first_line, shown, some

METADATA = ".metadata"
_CHECKPOINT = "torch.distributed.checkpoint"
_ALLOWED = frozenset(
    f"{module}.{name}"
    for module, names in {
        "pathlib": ("PosixPath",),
        "pathlib._local": ("PosixPath",),  # its name in Python 3.13
        f"{_CHECKPOINT}.filesystem": ("_StorageInfo",),
        f"{_CHECKPOINT}.metadata": (
            "Metadata", "MetadataIndex", "StorageMeta", "TensorStorageMetadata", "BytesStorageMetadata",
            "ChunkStorageMetadata", "TensorProperties", "_MEM_FORMAT_ENCODING",
        ),
        f"{_CHECKPOINT}.planner": ("SavePlan", "WriteItem", "WriteItemType", "TensorWriteData"),  # Megatron
    }.items()
    for name in names
)  # fmt: skip
_KNOWN: Mapping[str, Any] = {
    **{f"torch.{dtype}": dtype for dtype in BYTES_PER_ITEM},
    "torch.Size": tuple,
    "torch.serialization._get_layout": str,
}


@dataclass(frozen=True, slots=True)
class DcpPiece:
    """A block of one tensor, and its place in the files."""

    offsets: tuple[int, ...]
    """Start of the block in the tensor, one number per dimension."""
    sizes: tuple[int, ...]
    file: str
    begin: int
    """Offset in bytes from the start of the file."""
    length: int
    """Bytes in the file, a little more than the elements take."""


@dataclass(frozen=True, slots=True)
class DcpTensor:
    """One tensor, as the metadata describe it."""

    dtype: str
    """torch's name: `float32`, `bfloat16`, ..."""
    shape: tuple[int, ...]
    pieces: tuple[DcpPiece, ...]

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * BYTES_PER_ITEM[self.dtype]


@dataclass(frozen=True, slots=True)
class DcpMetadata:
    """The tensors and files of a DCP folder."""

    tensors: Mapping[str, DcpTensor]
    """By full name, with the optimizer's, without entries that are pickled bytes (`_extra_state`)."""
    ends: Mapping[str, int]
    """File to the number of bytes that it must have at least."""

    def files_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the files that hold these tensors, in alphabetical order."""
        return tuple(sorted({piece.file for name in names for piece in self.tensors[name].pieces}))


def read_dcp_metadata(folder: Path) -> DcpMetadata:
    """Read and check the `.metadata` of a folder, without running code or reading tensors.

    Raises:
        CheckpointError: the file cannot be read, uses a name that is not allowed, or contradicts itself.
    """
    path = folder / METADATA
    try:
        return _read(path, tuple(signature_of(path)))
    except OSError as error:
        raise unreadable(path, error) from error


@lru_cache(maxsize=64)
def _read(path: Path, signature: tuple[int, ...]) -> DcpMetadata:
    """Read the metadata; cached while the file is unchanged, since a run reads them several times."""
    try:
        with open_regular(path) as file:
            loaded = SafeUnpickler(file, _KNOWN, _ALLOWED).load()
    except OSError:
        raise
    except ForbiddenName as error:
        raise CheckpointError(
            f"{shown(path)} asks to run code ({shown(error)}), and was not loaded",
            "no trainer needs that; save the checkpoint again, or get it from a source that you trust",
        ) from error
    except Exception as error:  # the unpickler raises almost anything on bytes that are not a pickle
        raise CheckpointError(f"{shown(path)} is damaged: {first_line(error)}") from error
    try:
        return _checked(loaded)
    except _Wrong as error:
        raise CheckpointError(
            f"{shown(path)} is not what torch.distributed.checkpoint writes: {error}"
        ) from error


def problem_with_files(metadata: DcpMetadata, files: Mapping[str, int]) -> str | None:
    """Compare the files of a folder (name to size) with its metadata; return None if they fit."""
    missing = [name for name in metadata.ends if name not in files]
    if missing:
        return f"missing: {some(missing)}"
    for name, end in sorted(metadata.ends.items()):
        if files[name] < end:
            return f"{shown(name)} is cut short: it has {files[name]} bytes, {METADATA} needs {end}"
    return None


class _Wrong(Exception):
    """A value in the pickle is not what a checkpoint's metadata have there."""


def _checked(loaded: Any) -> DcpMetadata:
    described = _field(loaded, "Metadata", "state_dict_metadata")
    stored = _field(loaded, "Metadata", "storage_data")
    if not isinstance(described, dict) or not isinstance(stored, dict):
        raise _Wrong("it has no list of tensors")
    places = dict(_place(index, info) for index, info in stored.items())
    ends: dict[str, int] = {}
    for file, begin, length in places.values():
        ends[file] = max(ends.get(file, 0), begin + length)
    tensors = {}
    for name, entry in described.items():
        if not isinstance(name, str):
            raise _Wrong("a tensor's name is not text")
        if type(entry).__name__ == "TensorStorageMetadata":
            tensors[name] = _tensor(name, entry, places)
        elif type(entry).__name__ != "BytesStorageMetadata":
            raise _Wrong(f"the description of {shown(name)} is invalid")
    return DcpMetadata(tensors, ends)


_Place = tuple[str, int, int]


def _place(index: Any, info: Any) -> tuple[tuple[str, tuple[int, ...] | None], _Place]:
    name = _field(index, "MetadataIndex", "fqn")
    offset = index.state.get("offset")  # byte entries have none
    file = _field(info, "_StorageInfo", "relative_path")
    begin, length = _field(info, "_StorageInfo", "offset"), _field(info, "_StorageInfo", "length")
    if not isinstance(name, str) or not (offset is None or _is_sizes(offset)):
        raise _Wrong("the place of a tensor is invalid")
    if not isinstance(file, str) or not is_plain(file):
        raise _Wrong(f"{shown(name)} lies outside the folder: {shown(file)}")
    if not _is_sizes((begin, length)):
        raise _Wrong(f"{shown(name)} has no place in {shown(file)}")
    if info.state.get("transform_descriptors"):
        raise _Wrong(f"{shown(name)} is stored compressed, which cannot be read")
    return (name, offset), (file, begin, length)


def _tensor(name: str, entry: Any, places: Mapping[tuple[str, tuple[int, ...] | None], _Place]) -> DcpTensor:
    properties = _state(_field(entry, "TensorStorageMetadata", "properties"), "TensorProperties")
    dtype = properties[0] if isinstance(properties, tuple) and properties else None
    shape = _field(entry, "TensorStorageMetadata", "size")
    chunks = _field(entry, "TensorStorageMetadata", "chunks")
    if not isinstance(dtype, str) or dtype not in BYTES_PER_ITEM or not _is_sizes(shape):
        raise _Wrong(f"{shown(name)} has no dtype or no shape")
    if not isinstance(chunks, (list, tuple)):
        raise _Wrong(f"{shown(name)} has no pieces")
    return DcpTensor(dtype, shape, tuple(_piece(name, chunk, len(shape), places) for chunk in chunks))


def _piece(
    name: str, chunk: Any, n_dimensions: int, places: Mapping[tuple[str, tuple[int, ...] | None], _Place]
) -> DcpPiece:
    offsets = _field(chunk, "ChunkStorageMetadata", "offsets")
    sizes = _field(chunk, "ChunkStorageMetadata", "sizes")
    if not (_is_sizes(offsets) and _is_sizes(sizes) and len(offsets) == len(sizes) == n_dimensions):
        raise _Wrong(f"a piece of {shown(name)} has no place in it")
    place = places.get((name, offsets))
    if place is None:
        raise _Wrong(f"the place of {shown(name)} is missing")
    return DcpPiece(offsets, sizes, *place)


def _field(record: Any, kind: str, name: str) -> Any:
    state = _state(record, kind)
    if not isinstance(state, dict) or name not in state:
        raise _Wrong(f"a {kind} has no {name}")
    return state[name]


def _state(record: Any, kind: str) -> Any:
    if not isinstance(record, StandIn) or type(record).__name__ != kind:
        raise _Wrong(f"a {kind} is missing")
    return record.state


def _is_sizes(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(item) is int and 0 <= item < 2**62 for item in value)
