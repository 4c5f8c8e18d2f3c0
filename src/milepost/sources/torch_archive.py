"""Read the values in a file of `torch.save`, and the places of its tensors, without torch.

The file is a zip archive: a pickle (`data.pkl`, read by `safe_unpickler`) and one record of raw bytes per
storage. No tensor data is read, so that one of a hundred states in a file can be read alone.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from milepost.errors import CheckpointError
from milepost.sources.dtypes import BYTES_PER_ITEM, PLAIN
from milepost.sources.regular_files import open_regular
from milepost.sources.safe_unpickler import ForbiddenName, SafeUnpickler
from milepost.sources.unreadable_files import unreadable
from milepost.text.language import Phrase
from milepost.text.messages import first_line, shown

_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16",
    "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8",
}  # fmt: skip
_MAX_PICKLE_BYTES = 1 << 28
_LOCAL_HEADER_BYTES = 30
_MAX_DIMENSIONS = 64
"""torch's own limit."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in the file; its data is not read."""

    dtype: str
    """torch's name: `float32`, `bfloat16`, ..."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """In elements, as in torch."""
    begin: int
    """Offset of the first element, in bytes from the start of the file."""

    @property
    def n_items(self) -> int:
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        return self.n_items * BYTES_PER_ITEM[self.dtype]


@dataclass(frozen=True, slots=True)
class _Record:
    begin: int
    size: int


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: str
    record: _Record


def read_archive(path: Path, allowed: Collection[str] = ()) -> Any:
    """Return the values in a file of `torch.save`, with a `StoredTensor` for every tensor.

    Args:
        allowed: full names (`argparse.Namespace`) that the pickle may use besides those of tensors and plain
            containers; each becomes a `StandIn`.

    Raises:
        CheckpointError: the file cannot be read, is cut short or damaged, or uses other names.
    """
    name = shown(path)
    try:
        with open_regular(path) as file:
            records = _records(file, os.fstat(file.fileno()).st_size)
            return _unpickle(file, records, allowed)
    except OSError as error:
        raise unreadable(path, error) from error
    except ForbiddenName as refusal:
        raise CheckpointError(
            Phrase(
                "{name} asks to run code ({refusal}), and was not loaded", name=name, refusal=shown(refusal)
            ),
            "only tensors, plain values and the trainer's own settings are read",
        ) from refusal
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            Phrase("{name} is cut short, or not written by torch 1.6 or newer", name=name),
            "copy or download the file again",
        ) from error
    except Exception as error:  # the unpickler raises almost anything on bytes that are not a pickle
        raise CheckpointError(
            Phrase("{name} is damaged: {error}", name=name, error=first_line(error))
        ) from error


class _Damaged(Exception):
    """Parts of the archive contradict each other."""


def _records(file: BinaryIO, file_bytes: int) -> dict[str, _Record]:
    """Return the place of every record by its name, without the archive's own name in front."""
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


def _unpickle(file: BinaryIO, records: Mapping[str, _Record], allowed: Collection[str]) -> Any:
    if "data.pkl" not in records:
        raise _Damaged("it has no data.pkl")
    if "byteorder" in records and _bytes_of(file, records["byteorder"]) != b"little":
        raise _Damaged("its numbers are big-endian")
    if records["data.pkl"].size > _MAX_PICKLE_BYTES:
        raise _Damaged(f"its pickle has more than {_MAX_PICKLE_BYTES} bytes")
    return _Unpickler(_bytes_of(file, records["data.pkl"]), records, allowed).load()


def _bytes_of(file: BinaryIO, record: _Record) -> bytes:
    file.seek(record.begin)
    return file.read(record.size)


class _Unpickler(SafeUnpickler):
    def __init__(self, data: bytes, records: Mapping[str, _Record], allowed: Collection[str]) -> None:
        super().__init__(io.BytesIO(data), _KNOWN, allowed)
        self._records = records

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, n_items = pid
        if kind != "storage" or dtype not in PLAIN:
            raise _Damaged("it refers to something that is not a storage")
        record = self._records[f"data/{key}"]
        if type(n_items) is not int or n_items * BYTES_PER_ITEM[dtype] > record.size:
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
        or len(shape) > _MAX_DIMENSIONS
        or any(type(count) is not int or count < 0 for count in counts)
    ):
        raise _Damaged("a tensor has an invalid shape")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if math.prod(shape) and (last + 1) * BYTES_PER_ITEM[dtype] > storage.record.size:
        raise _Damaged("a tensor reaches beyond its storage")
    if math.prod(shape) * BYTES_PER_ITEM[dtype] > storage.record.size:
        raise _Damaged("a tensor has more elements than its storage")
    return StoredTensor(dtype, shape, stride, storage.record.begin + offset * BYTES_PER_ITEM[dtype])


def _parameter(data: StoredTensor, *_: Any) -> StoredTensor:
    return data


def _with_attributes(make: Any, kind: Any, arguments: Any, state: Any) -> StoredTensor:
    """Return a tensor that was saved with attributes, as DeepSpeed does, without the attributes."""
    if make not in (_tensor, _tensor_of_type, _parameter) or kind is not _PLAIN:
        raise _Damaged("a tensor has an unknown type")
    tensor: StoredTensor = make(*arguments)
    return tensor


def _encoded(text: str, encoding: str = "") -> bytes:
    """Return bytes, which pickles of protocol 2 write as text of the same code points."""
    return text.encode("latin-1")


_PLAIN = object()
"""Stands for torch's own tensor classes."""
_KNOWN: Mapping[str, Any] = {
    **{f"torch.{dtype}": dtype for dtype in PLAIN},
    **{
        f"{module}.{name}": dtype
        for name, dtype in _STORAGES.items()
        for module in ("torch", "torch.storage")
    },
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
"""Names that every file may use, with the object that stands for each."""
