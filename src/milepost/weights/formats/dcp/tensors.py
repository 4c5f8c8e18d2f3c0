"""Read tensors of a DCP folder by name; torch.distributed.checkpoint joins their pieces.

torch would unpickle `.metadata` and byte entries without a check. So it gets metadata that were read safely
and have only the wanted tensors; it reads these with `weights_only=True`.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from milepost.errors import CheckpointError
from milepost.sources.dtypes import BYTES_PER_ITEM
from milepost.sources.formats.dcp.metadata import (
    METADATA,
    DcpMetadata,
    DcpPiece,
    DcpTensor,
    problem_with_files,
)
from milepost.sources.unreadable_files import unreadable
from milepost.text.messages import first_line, shown, some


def read_dcp_tensors(folder: Path, metadata: DcpMetadata, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Read only the named tensors, whole, on the CPU, in the dtypes in which they were saved.

    Needs the memory of the tensors and of one piece.

    Args:
        metadata: the folder's metadata, from `milepost.sources.formats.dcp.metadata.read_dcp_metadata`.

    Raises:
        CheckpointError: a name is unknown, a file is missing, cut short or damaged, the pieces of a tensor
            leave a gap or overlap, or an entry is not a tensor.
    """
    wanted = list(dict.fromkeys(names))
    where = shown(folder)
    if unknown := [name for name in wanted if name not in metadata.tensors]:
        raise CheckpointError(f"{where} lacks {some(unknown)}")
    for name in wanted:
        if problem := _gap_problem(metadata.tensors[name]):
            raise CheckpointError(f"{shown(folder / METADATA)}: the pieces of {shown(name)} {problem}")
    try:
        sizes = {file: (folder / file).stat().st_size for file in metadata.ends if (folder / file).is_file()}
    except OSError as error:
        raise unreadable(folder, error) from error
    problem = problem_with_files(metadata, sizes) or _size_problem(metadata, wanted, sum(sizes.values()))
    if problem:
        raise CheckpointError(f"{where}: {problem}", "copy the checkpoint again")
    return _load(folder, metadata, wanted)


def _load(folder: Path, metadata: DcpMetadata, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Do the work of `torch.distributed.checkpoint.load` in one process, with our metadata."""
    planner, reader = DefaultLoadPlanner(), FileSystemReader(folder)
    try:
        tensors = {name: _empty(metadata.tensors[name]) for name in names}
        known = _as_torch(metadata, names)
        planner.set_up_planner(dict(tensors), known, is_coordinator=True)
        reader.set_up_storage_reader(known, is_coordinator=True)
        reader.read_data(planner.create_local_plan(), planner).wait()
    except Exception as error:  # damage in zip, pickle or sizes raises almost any exception
        files = some(metadata.files_of(names))
        raise CheckpointError(
            f"{shown(folder)}: {files} cannot be read: {_cause(error)}", "copy the checkpoint again"
        ) from error
    return tensors


def _empty(entry: DcpTensor) -> torch.Tensor:
    return torch.empty(entry.shape, dtype=getattr(torch, entry.dtype))


def _as_torch(metadata: DcpMetadata, names: Sequence[str]) -> Metadata:
    described: dict[str, Any] = {}
    stored = {}
    for name in names:
        entry = metadata.tensors[name]
        described[name] = TensorStorageMetadata(
            TensorProperties(dtype=getattr(torch, entry.dtype)),
            torch.Size(entry.shape),
            [
                ChunkStorageMetadata(torch.Size(piece.offsets), torch.Size(piece.sizes))
                for piece in entry.pieces
            ],
        )
        for piece in entry.pieces:
            index = MetadataIndex(name, piece.offsets)
            stored[index] = _StorageInfo(piece.file, piece.begin, piece.length)
    return Metadata(described, storage_data=stored, storage_meta=StorageMeta())


def _size_problem(metadata: DcpMetadata, names: Sequence[str], file_bytes: int) -> str | None:
    """Return a problem if tensors need more memory than the files can fill; it would be allocated first."""
    n_bytes = 0
    for name in names:
        entry = metadata.tensors[name]
        for piece in entry.pieces:
            if math.prod(piece.sizes) * BYTES_PER_ITEM[entry.dtype] > piece.length:
                return f"{shown(name)} is larger than its piece in {shown(piece.file)}"
        n_bytes += entry.n_bytes
    return f"{METADATA} describes more than its files contain" if n_bytes > file_bytes else None


def _gap_problem(tensor: DcpTensor) -> str | None:
    """Return a problem if a piece is outside the tensor, two overlap, or there is a gap."""
    filled = [piece for piece in tensor.pieces if math.prod(piece.sizes)]
    for piece in filled:
        ends = (offset + size for offset, size in zip(piece.offsets, piece.sizes, strict=True))
        if any(end > length for end, length in zip(ends, tensor.shape, strict=True)):
            return "reach beyond its shape"
    if _some_overlap(filled):
        return "overlap"
    if sum(math.prod(piece.sizes) for piece in filled) != math.prod(tensor.shape):
        return "leave a gap"
    return None


def _some_overlap(pieces: Sequence[DcpPiece]) -> bool:
    if len(pieces) < 2 or not pieces[0].sizes:
        return len(pieces) > 1
    begin = torch.tensor([piece.offsets for piece in pieces])
    end = begin + torch.tensor([piece.sizes for piece in pieces])
    for i in range(len(pieces) - 1):  # with all that follow; a tensor has a piece per rank, not thousands
        is_apart = (end[i + 1 :] <= begin[i]) | (begin[i + 1 :] >= end[i])
        if not bool(is_apart.any(dim=1).all()):
            return True
    return False


def _cause(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        return "it asks to run code or is damaged"
    return first_line(error)
