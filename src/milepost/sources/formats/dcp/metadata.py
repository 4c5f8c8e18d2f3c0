"""The `.metadata` of a torch.distributed checkpoint (DCP): its tensors, their pieces, the files of these.

It is a pickle, so it could ask to run any code. Here it is read with stand-ins that do nothing for the few
names that torch and Megatron write; a pickle with any other name is refused. Nothing of torch is imported,
and what the stand-ins collected is checked before it is believed. Source: torch/distributed/checkpoint,
metadata.py and filesystem.py, torch 2.2 to 2.13.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.sources.formats.dcp.layout import METADATA
from milepost.sources.names import first_line, shown, some
from milepost.sources.regular_files import open_regular

_CHECKPOINT = "torch.distributed.checkpoint"
_RECORDS = {
    "pathlib": {"PosixPath"},
    "pathlib._local": {"PosixPath"},  # what Python 3.13 calls it
    f"{_CHECKPOINT}.filesystem": {"_StorageInfo"},
    f"{_CHECKPOINT}.metadata": {
        "Metadata", "MetadataIndex", "StorageMeta", "TensorStorageMetadata", "BytesStorageMetadata",
        "ChunkStorageMetadata", "TensorProperties", "_MEM_FORMAT_ENCODING",
    },
    f"{_CHECKPOINT}.planner": {"SavePlan", "WriteItem", "WriteItemType", "TensorWriteData"},  # Megatron
}  # fmt: skip
BYTES_PER_ITEM = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1,
    "bool": 1, "complex32": 4, "complex64": 8, "complex128": 16,
    "quint8": 1, "qint8": 1, "qint32": 4, "float4_e2m1fn_x2": 1,
}  # fmt: skip
"""Every dtype that a tensor may have, by the name it has in torch."""


@dataclass(frozen=True, slots=True)
class DcpPiece:
    """A block of one tensor, and where it is stored."""

    offsets: tuple[int, ...]
    """Where in the tensor it begins, one number per dimension."""
    sizes: tuple[int, ...]
    file: str
    begin: int
    """Bytes from the start of the file."""
    length: int
    """Bytes it takes in the file, which is a little more than the block's own."""


@dataclass(frozen=True, slots=True)
class DcpTensor:
    """One tensor, as the metadata describe it."""

    dtype: str
    """`float32`, `bfloat16`, ...: the name it has in torch."""
    shape: tuple[int, ...]
    pieces: tuple[DcpPiece, ...]

    @property
    def n_bytes(self) -> int:
        """What it takes in memory."""
        return math.prod(self.shape) * BYTES_PER_ITEM[self.dtype]


@dataclass(frozen=True, slots=True)
class DcpMetadata:
    """What a DCP folder holds."""

    tensors: Mapping[str, DcpTensor]
    """By full name, optimizer state included; without entries that are pickled bytes (`_extra_state`)."""
    ends: Mapping[str, int]
    """Every file that something is stored in, and how many bytes it must at least have."""

    def files_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """The files that hold these tensors, in alphabetical order."""
        return tuple(sorted({piece.file for name in names for piece in self.tensors[name].pieces}))


def read_dcp_metadata(folder: Path) -> DcpMetadata:
    """Read and check the `.metadata` of a folder; no tensor is read and no code of the pickle is run.

    Raises:
        CheckpointError: it cannot be read, names anything that is not on the list, or contradicts itself.
    """
    path = folder / METADATA
    try:
        stat = path.stat()
        return _read(path, (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev))
    except OSError as error:
        raise CheckpointError(f"{shown(str(path))} cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _read(path: Path, signature: tuple[int, ...]) -> DcpMetadata:
    """Remembered while the file is what it was: a checkpoint is looked at several times in a run."""
    try:
        with open_regular(path) as file:
            loaded = _Unpickler(file).load()
    except OSError:
        raise
    except _ForeignName as error:
        raise CheckpointError(
            f"{shown(str(path))} asks to run code ({shown(str(error))}), and was not loaded",
            "no trainer has need of that; write the checkpoint anew, or get it from where you trust",
        ) from error
    except Exception as error:  # bytes that are no pickle make the unpickler raise almost anything
        raise CheckpointError(f"{shown(str(path))} is damaged: {first_line(error)}") from error
    try:
        return _checked(loaded)
    except _Wrong as error:
        raise CheckpointError(
            f"{shown(str(path))} is not what torch.distributed.checkpoint writes: {error}"
        ) from error


def problem_with_files(metadata: DcpMetadata, files: Mapping[str, int]) -> str | None:
    """What the files of a folder (name and size) lack of what its metadata promise; None where nothing."""
    missing = [name for name in metadata.ends if name not in files]
    if missing:
        return f"missing: {some(missing)}"
    for name, end in sorted(metadata.ends.items()):
        if files[name] < end:
            return f"{shown(name)} is cut short: it has {files[name]} bytes, {METADATA} calls for {end}"
    return None


class _ForeignName(Exception):
    """The pickle names something outside the list."""


class _Wrong(Exception):
    """The pickle was read, but is not what a checkpoint's metadata are."""


class _Record:
    """Stands for a class of torch's: keeps what the pickle says of an object, and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle._Unpickler):
    """Knows stand-ins for the names above and no others.

    Each reading has classes of its own, so that nothing a pickle does to one outlives it. It is the unpickler
    in Python, 4 MB/s: that in C takes whatever memory an index in a hostile pickle calls for.
    """

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self._known: dict[tuple[str, str], Any] = {
            (module, name): type(name, (_Record,), {}) for module, names in _RECORDS.items() for name in names
        }
        self._known |= {("torch", name): name for name in BYTES_PER_ITEM}
        self._known["torch", "Size"] = tuple
        self._known["torch.serialization", "_get_layout"] = str

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name of the list.

        Raises:
            _ForeignName: it is not on it.
        """
        try:
            return self._known[module, name]
        except KeyError:
            raise _ForeignName(f"{module}.{name}") from None


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
            raise _Wrong(f"{shown(name)} is described wrongly")
    return DcpMetadata(tensors, ends)


_Place = tuple[str, int, int]


def _place(index: Any, info: Any) -> tuple[tuple[str, tuple[int, ...] | None], _Place]:
    name = _field(index, "MetadataIndex", "fqn")
    offset = index.state.get("offset")  # byte entries have none
    file = _field(info, "_StorageInfo", "relative_path")
    begin, length = _field(info, "_StorageInfo", "offset"), _field(info, "_StorageInfo", "length")
    if not isinstance(name, str) or not (offset is None or _is_sizes(offset)):
        raise _Wrong("the place of a tensor is given wrongly")
    if not isinstance(file, str) or not _is_plain(file):
        raise _Wrong(f"{shown(name)} lies outside the folder: {shown(str(file))}")
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
        raise _Wrong(f"it does not tell where {shown(name)} is stored")
    return DcpPiece(offsets, sizes, *place)


def _field(record: Any, kind: str, name: str) -> Any:
    state = _state(record, kind)
    if not isinstance(state, dict) or name not in state:
        raise _Wrong(f"a {kind} has no {name}")
    return state[name]


def _state(record: Any, kind: str) -> Any:
    if not isinstance(record, _Record) or type(record).__name__ != kind:
        raise _Wrong(f"a {kind} is missing")
    return getattr(record, "state", None)


def _is_sizes(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(item) is int and 0 <= item < 2**62 for item in value)


def _is_plain(name: str) -> bool:
    return bool(name) and not set(name) & {"/", "\\", "\0"} and name not in {".", ".."}
