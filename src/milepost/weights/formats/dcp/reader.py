"""Read tensors of a DCP folder by name; torch.distributed.checkpoint joins their pieces.

torch would unpickle `.metadata` and byte entries without any check. So it is given metadata that were read
safely, in which there are none but the wanted tensors; those it reads with `weights_only=True`.
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
from milepost.sources.formats.dcp.layout import METADATA
from milepost.sources.formats.dcp.metadata import (
    BYTES_PER_ITEM,
    DcpMetadata,
    DcpPiece,
    DcpTensor,
    problem_with_files,
)
from milepost.sources.names import first_line, shown, some


def read_dcp_tensors(folder: Path, metadata: DcpMetadata, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """The named tensors, whole, on the CPU, in the dtypes they were saved in. Nothing else is read.

    Takes the memory of the tensors and of one piece.

    Args:
        metadata: of this folder, as `milepost.sources.formats.dcp.metadata.read_dcp_metadata` gives them.

    Raises:
        CheckpointError: a name is unknown, a file is missing, cut short or damaged, the pieces of a tensor do
            not make it up, or an entry asks for anything else than a tensor.
    """
    wanted = list(dict.fromkeys(names))
    where = shown(str(folder))
    if unknown := [name for name in wanted if name not in metadata.tensors]:
        raise CheckpointError(f"{where} lacks {some(unknown)}")
    for name in wanted:
        if problem := _gap(metadata.tensors[name]):
            raise CheckpointError(f"{shown(str(folder / METADATA))}: the pieces of {shown(name)} {problem}")
    try:
        sizes = {file: (folder / file).stat().st_size for file in metadata.ends if (folder / file).is_file()}
    except OSError as error:
        raise CheckpointError(f"{where} cannot be read: {error.strerror or error}") from error
    problem = problem_with_files(metadata, sizes) or _too_much(metadata, wanted, sum(sizes.values()))
    if problem:
        raise CheckpointError(f"{where}: {problem}", "copy the checkpoint again")
    return _load(folder, metadata, wanted)


def _load(folder: Path, metadata: DcpMetadata, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Load as `torch.distributed.checkpoint.load` does in one process, but with our metadata."""
    planner, reader = DefaultLoadPlanner(), FileSystemReader(folder)
    try:
        tensors = {name: _empty(metadata.tensors[name]) for name in names}
        known = _as_torch(metadata, names)
        planner.set_up_planner(dict(tensors), known, is_coordinator=True)
        reader.set_up_storage_reader(known, is_coordinator=True)
        reader.read_data(planner.create_local_plan(), planner).wait()
    except Exception as error:  # damage shows itself in zip, pickle or sizes, as almost any exception
        files = some(metadata.files_of(names))
        raise CheckpointError(
            f"{shown(str(folder))}: {files} cannot be read: {_said(error)}", "copy the checkpoint again"
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


def _too_much(metadata: DcpMetadata, names: Sequence[str], file_bytes: int) -> str | None:
    """Return why the tensors need more memory than the files can fill; checked before memory is taken."""
    n_bytes = 0
    for name in names:
        entry = metadata.tensors[name]
        for piece in entry.pieces:
            if math.prod(piece.sizes) * BYTES_PER_ITEM[entry.dtype] > piece.length:
                return f"{shown(name)} is larger than what {shown(piece.file)} holds of it"
        n_bytes += entry.n_bytes
    return f"{METADATA} promises more than its files hold" if n_bytes > file_bytes else None


def _gap(tensor: DcpTensor) -> str | None:
    """Return why the pieces do not fill the tensor: one is outside, two overlap, or some are missing."""
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
    for i in range(len(pieces) - 1):  # against all that follow; a tensor has a piece per rank, not thousands
        apart = (end[i + 1 :] <= begin[i]) | (begin[i + 1 :] >= end[i])
        if not bool(apart.any(dim=1).all()):
            return True
    return False


def _said(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        return "it asks to run code or is damaged"
    return first_line(error)
