"""Read the tensors of a Hugging Face folder, from one file or from the shards in its index."""

from __future__ import annotations

import torch

from milepost.errors import CheckpointError
from milepost.sources.formats.huggingface.layout import (
    MAX_INDEX_BYTES,
    WEIGHT_NAMES,
    WeightNames,
    shards_in_index,
)
from milepost.sources.names import shown, some
from milepost.sources.regular_files import read_regular
from milepost.weights.formats.huggingface.bin import read_bin
from milepost.weights.formats.huggingface.safetensors import read_safetensors
from milepost.weights.reader import Asked, Found


def read_huggingface(asked: Asked) -> Found:
    """Read all tensors by the names in the files and compare each file's hash.

    Raises:
        CheckpointError: naming the file that is damaged, missing, not what the index says, or not safe.
    """
    names = next(names for names in WEIGHT_NAMES if names.format == asked.format)
    if (asked.folder / names.single).exists():
        tensors = _read(asked, names.single)
        return Found(tensors, dict.fromkeys(tensors, names.single))
    return _read_shards(asked, names)


def _read(asked: Asked, name: str) -> dict[str, torch.Tensor]:
    path, sha256 = asked.folder / name, asked.sha256.get(name)
    if asked.format == "safetensors":
        return read_safetensors(path, sha256, asked.held)
    return read_bin(path, sha256)


def _read_shards(asked: Asked, names: WeightNames) -> Found:
    folder = asked.folder
    index = folder / names.index
    try:
        weight_map, problem = shards_in_index(names.index, read_regular(index, MAX_INDEX_BYTES))
    except OSError as error:
        raise CheckpointError(f"{shown(str(index))} cannot be read: {error.strerror}") from error
    if problem:
        raise CheckpointError(f"{shown(str(folder))}: {problem}")
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(set(weight_map.values())):
        found = _read(asked, shard)
        promised = {name for name, where in weight_map.items() if where == shard}
        if lost := promised - found.keys():
            raise CheckpointError(
                f"{shown(str(folder / shard))} lacks {some(lost)}, which the index puts there"
            )
        if stray := found.keys() - promised:
            raise CheckpointError(f"{shown(str(folder / shard))} holds {some(stray)}, which the index lacks")
        tensors |= found
    return Found(tensors, weight_map)
