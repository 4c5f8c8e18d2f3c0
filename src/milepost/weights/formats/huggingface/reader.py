"""Read a Hugging Face folder, in one file or in the shards of its index."""

from __future__ import annotations

import torch

from milepost.errors import CheckpointError
from milepost.sources.formats.huggingface.layout import (
    MAX_INDEX_BYTES,
    WEIGHT_NAMES,
    WeightNames,
    shards_in_index,
)
from milepost.sources.regular_files import read_regular
from milepost.sources.unreadable_files import unreadable
from milepost.text.messages import shown, some
from milepost.weights.formats.huggingface.bin import read_bin
from milepost.weights.formats.huggingface.safetensors import read_safetensors
from milepost.weights.reader import Reader, ReadRequest, ReadResult


def read_huggingface(request: ReadRequest) -> ReadResult:
    """Read all tensors by the names in the files; each file's hash is checked as it is read.

    Raises:
        CheckpointError: a file is damaged, missing, unsafe, or does not match the index.
    """
    names = next(names for names in WEIGHT_NAMES if names.format == request.format)
    if (request.folder / names.single).exists():
        tensors = _read(request, names.single)
        return ReadResult(tensors, dict.fromkeys(tensors, names.single))
    return _read_shards(request, names)


def _read(request: ReadRequest, name: str) -> dict[str, torch.Tensor]:
    path, sha256 = request.folder / name, request.sha256.get(name)
    if request.format == "safetensors":
        return read_safetensors(path, sha256, request.held)
    return read_bin(path, sha256)


def _read_shards(request: ReadRequest, names: WeightNames) -> ReadResult:
    folder = request.folder
    index = folder / names.index
    try:
        weight_map, problem = shards_in_index(names.index, read_regular(index, MAX_INDEX_BYTES))
    except OSError as error:
        raise unreadable(index, error) from error
    if problem:
        raise CheckpointError(f"{shown(folder)}: {problem}")
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(set(weight_map.values())):
        found = _read(request, shard)
        promised = {name for name, where in weight_map.items() if where == shard}
        if lost := promised - found.keys():
            raise CheckpointError(f"{shown(folder / shard)} lacks {some(lost)}, which the index lists in it")
        if stray := found.keys() - promised:
            raise CheckpointError(f"{shown(folder / shard)} has {some(stray)}, which the index does not list")
        tensors |= found
    return ReadResult(tensors, weight_map)


READER = Reader(read_huggingface)
