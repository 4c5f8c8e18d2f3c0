"""What a file written by `torch.save` holds: plain values, and which tensors lie where. Runs nothing of it.

The file is a zip archive: a pickle (`data.pkl`) and one record of raw bytes per storage. A pickle can name
any function and have it called. Here a name is looked up in an allow-list and never imported: what may be
named becomes a `StandIn`, which keeps what it was given and does nothing; anything else is refused by name.
Knows no torch, and reads no tensor's data, so one of a hundred states in a file can be read alone.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from milepost.errors import CheckpointError
from milepost.sources.names import first_line, shown
from milepost.sources.regular_files import open_regular

_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16",
    "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8",
}  # fmt: skip
ITEM_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
}  # fmt: skip
_MAX_PICKLE_BYTES = 1 << 28
_LOCAL_HEADER_BYTES = 30
_MOST_DIMENSIONS = 64
"""As many as torch knows."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in the file, not read."""

    dtype: str
    """As torch names it: `float32`, `bfloat16`, ..."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """In elements, as torch counts."""
    begin: int
    """Where its first element lies, in bytes from the start of the file."""

    @property
    def n_bytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


class StandIn:
    """An object of a class that the file names: its name and what it was made of. Inert."""

    qualified_name = ""
    given: tuple[Any, ...]
    state: Any

    def __new__(cls, *given: Any, **named: Any) -> StandIn:
        self = object.__new__(cls)
        self.given = given
        self.state = None
        return self

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    @property
    def attributes(self) -> dict[str, Any]:
        """The object's own values by name; empty where it keeps none that way."""
        return dict(self.state) if isinstance(self.state, dict) else {}


@dataclass(frozen=True, slots=True)
class _Record:
    begin: int
    size: int


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: str
    record: _Record


def read_archive(path: Path, allowed: Collection[str] = ()) -> Any:
    """The values in a file of `torch.save`, with a `StoredTensor` for every tensor.

    Args:
        allowed: full names (`argparse.Namespace`) that the pickle may use besides those of tensors and plain
            containers; each becomes a `StandIn`.

    Raises:
        CheckpointError: the file cannot be read, is cut short or damaged, or names anything else.
    """
    name = shown(str(path))
    try:
        with open_regular(path) as file:
            records = _records(file, os.fstat(file.fileno()).st_size)
            return _unpickle(file, records, frozenset(allowed))
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror or error}") from error
    except _Refused as refusal:
        raise CheckpointError(
            f"{name} asks to run code ({shown(str(refusal))}), and was not loaded",
            "nothing but tensors, plain values and the trainer's own settings is read",
        ) from refusal
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{name} is cut short, or not written by torch 1.6 or newer", "copy or download the file again"
        ) from error
    except Exception as error:  # bytes that are no pickle make the unpickler raise almost anything
        raise CheckpointError(f"{name} is damaged: {first_line(error)}") from error


class _Refused(Exception):
    """The pickle names something that is not allowed."""


class _Damaged(Exception):
    """The archive contradicts itself."""


def _records(file: BinaryIO, file_bytes: int) -> dict[str, _Record]:
    """Place of every record, by its name without the archive's own."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    records = {}
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED:
            raise _Damaged(f"{entry.filename} is compressed")
        file.seek(entry.header_offset)
        header = file.read(_LOCAL_HEADER_BYTES)
        if len(header) != _LOCAL_HEADER_BYTES or header[:4] != b"PK\3\4":
            raise _Damaged(f"{entry.filename} does not start where the archive says")
        begin = (
            file.tell() + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        )
        if begin + entry.file_size > file_bytes:
            raise _Damaged(f"{entry.filename} reaches beyond the file's end")
        records[entry.filename.partition("/")[2]] = _Record(begin, entry.file_size)
    return records


def _unpickle(file: BinaryIO, records: Mapping[str, _Record], allowed: frozenset[str]) -> Any:
    if "data.pkl" not in records:
        raise _Damaged("it holds no data.pkl")
    if "byteorder" in records and _bytes_of(file, records["byteorder"]) != b"little":
        raise _Damaged("its numbers are big-endian")
    if records["data.pkl"].size > _MAX_PICKLE_BYTES:
        raise _Damaged("its pickle is longer than any")
    return _Unpickler(_bytes_of(file, records["data.pkl"]), records, allowed).load()


def _bytes_of(file: BinaryIO, record: _Record) -> bytes:
    file.seek(record.begin)
    return file.read(record.size)


class _Unpickler(pickle._Unpickler):
    """The one in Python: its memo is a dict, while that in C takes the memory that a hostile index names."""

    def __init__(self, data: bytes, records: Mapping[str, _Record], allowed: frozenset[str]) -> None:
        super().__init__(io.BytesIO(data))
        self._records = records
        self._allowed = allowed
        self._classes: dict[str, type[StandIn]] = {}

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _KNOWN:
            return _KNOWN[full]
        if module in {"torch", "torch.storage"} and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and name in ITEM_BYTES:
            return name
        if full not in self._allowed:
            raise _Refused(full)
        if full not in self._classes:
            self._classes[full] = type(name, (StandIn,), {"qualified_name": full})
        return self._classes[full]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, n_items = pid
        if kind != "storage" or dtype not in ITEM_BYTES:
            raise _Damaged("it refers to something that is not a storage")
        record = self._records[f"data/{key}"]
        if type(n_items) is not int or n_items * ITEM_BYTES[dtype] > record.size:
            raise _Damaged(f"storage {key} is shorter than it should be")
        return _Storage(dtype, record)


def _tensor(storage: _Storage, offset: int, size: Any, stride: Any, *_: Any) -> StoredTensor:
    return _placed(storage, storage.dtype, offset, tuple(size), tuple(stride))


def _tensor_of_type(
    storage: _Storage, offset: int, size: Any, stride: Any, grad: Any, hooks: Any, dtype: str, *_: Any
) -> StoredTensor:
    return _placed(storage, dtype, offset, tuple(size), tuple(stride))


def _placed(
    storage: _Storage, dtype: str, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> StoredTensor:
    counts = (offset, *shape, *stride)
    if (
        len(shape) != len(stride)
        or len(shape) > _MOST_DIMENSIONS
        or any(type(count) is not int or count < 0 for count in counts)
    ):
        raise _Damaged("a tensor has an invalid shape")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if math.prod(shape) and (last + 1) * ITEM_BYTES[dtype] > storage.record.size:
        raise _Damaged("a tensor reaches beyond its storage")
    if math.prod(shape) * ITEM_BYTES[dtype] > storage.record.size:
        raise _Damaged("a tensor has more elements than are stored of it")
    return StoredTensor(dtype, shape, stride, storage.record.begin + offset * ITEM_BYTES[dtype])


def _parameter(data: StoredTensor, *_: Any) -> StoredTensor:
    return data


def _with_attributes(make: Any, kind: Any, arguments: Any, state: Any) -> StoredTensor:
    """A tensor that was saved with attributes of its own, as DeepSpeed's are; the attributes are left out."""
    if make not in (_tensor, _tensor_of_type, _parameter) or kind is not _PLAIN:
        raise _Damaged("a tensor has an unknown type")
    tensor: StoredTensor = make(*arguments)
    return tensor


def _encoded(text: str, encoding: str = "") -> bytes:
    """How pickles of protocol 2 spell bytes: as text of the same code points."""
    return text.encode("latin-1")


_PLAIN = object()
"""Stands for torch's own classes of tensors."""
_KNOWN: Mapping[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch.Tensor": _PLAIN,
    "torch.nn.parameter.Parameter": _PLAIN,
    "_codecs.encode": _encoded,
}
"""What may be named in every file, and what it becomes."""
