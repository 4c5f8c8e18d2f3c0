"""Save a checkpoint in memory as a Hugging Face folder: config and safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from milepost.sources.formats.huggingface.layout import WEIGHT_NAMES
from milepost.weights.checkpoint_weights import CheckpointWeights

MAX_SHARD_BYTES = 5_000_000_000
"""Maximum size of one file, transformers' default for years; a larger tensor has its own file."""


def write_checkpoint(
    weights: CheckpointWeights, folder: Path, max_shard_bytes: int = MAX_SHARD_BYTES
) -> list[Path]:
    """Write `config.json` and the weights, with an index if there are several files; return the files.

    Tensors are removed from `weights` as they are written, so that a tensor that has to be copied
    (transposed, or cut out of another) is in memory twice only alone.

    Raises:
        OSError: the folder cannot be written.
    """
    names = next(names for names in WEIGHT_NAMES if names.format == "safetensors")
    n_bytes = sum(tensor.nbytes for tensor in weights.tensors.values())
    shards = list(_shards(weights.tensors, max_shard_bytes))
    weights.config.save_pretrained(folder)
    written = [folder / "config.json"]
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = names.single if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        weight_map |= dict.fromkeys(shard, file)
        save_file(_taken(weights.tensors, shard), folder / file, metadata={"format": "pt"})
        written.append(folder / file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": n_bytes}, "weight_map": weight_map}
        (folder / names.index).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
        written.append(folder / names.index)
    return written


def _shards(tensors: Mapping[str, torch.Tensor], max_bytes: int) -> Iterator[list[str]]:
    """Yield the names of the tensors of each file, in order."""
    shard: list[str] = []
    n_bytes = 0
    for name, tensor in tensors.items():
        if shard and n_bytes + tensor.nbytes > max_bytes:
            yield shard
            shard, n_bytes = [], 0
        shard.append(name)
        n_bytes += tensor.nbytes
    yield shard


def _taken(tensors: dict[str, torch.Tensor], names: list[str]) -> dict[str, torch.Tensor]:
    """Remove and return the tensors, contiguous and without shared memory, as the format needs them."""
    taken: dict[str, torch.Tensor] = {}
    places: set[int] = set()
    for name in names:
        tensor = tensors.pop(name).contiguous()
        shared = tensor.data_ptr() in places and tensor.numel()
        taken[name] = tensor.clone() if shared else tensor
        places.add(tensor.data_ptr())
    return taken
