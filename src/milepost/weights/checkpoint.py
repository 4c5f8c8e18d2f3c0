"""A checkpoint's config and tensors, read from a folder and checked. Knows files, not modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PretrainedConfig

from milepost.errors import CheckpointError
from milepost.sources.formats.huggingface import WEIGHT_NAMES, WeightNames, shards_in_index
from milepost.sources.names import shown, some
from milepost.weights.config import read_config
from milepost.weights.read_bin import read_bin
from milepost.weights.read_safetensors import read_safetensors

_READERS: Mapping[str, Callable[[Path, str | None], dict[str, torch.Tensor]]] = {
    "safetensors": read_safetensors,
    "bin": read_bin,
}


@dataclass(frozen=True, slots=True)
class CheckpointWeights:
    """One checkpoint in memory."""

    folder: Path
    config: PretrainedConfig
    tensors: dict[str, torch.Tensor]
    """By the names in the files, on the CPU, in the files' dtypes."""
    file_of: Mapping[str, str]
    """The name of the file that each tensor came from."""
    n_bytes: int
    warnings: tuple[str, ...] = ()
    """What is odd but may be meant: matrices of zeros, NaN or Inf, another dtype than the config's."""

    def file_with(self, tensor: str) -> str:
        """Path of the file with a tensor, for messages; if none has it, of the only file or of the folder."""
        files = set(self.file_of.values())
        only = next(iter(files)) if len(files) == 1 else ""
        return shown(str(self.folder / self.file_of.get(tensor, only)))


def read_checkpoint(folder: Path, format: str, sha256: Mapping[str, str] | None = None) -> CheckpointWeights:
    """Read and check a checkpoint. Touches no global state, so it may run in a thread, ahead of its turn.

    Args:
        folder: as `milepost.sources.fetch` returns it.
        format: `safetensors` or `bin`.
        sha256: by name of the weight file, what its bytes must hash to as they are read: the checkpoint that
            was identified is then the one in memory, whatever happened to the files in between.

    Raises:
        CheckpointError: naming the file that is damaged, missing, not what the index says, or not safe.
    """
    names = next((names for names in WEIGHT_NAMES if names.format == format), None)
    if names is None:
        raise CheckpointError(f"{shown(str(folder))}: {format} checkpoints cannot be read yet")
    config = read_config(folder)
    sums = sha256 or {}
    if (folder / names.single).is_file():
        tensors = _READERS[format](folder / names.single, sums.get(names.single))
        file_of = dict.fromkeys(tensors, names.single)
    else:
        tensors, file_of = _read_shards(folder, names, sums)
    if not tensors:
        raise CheckpointError(f"{shown(str(folder))} holds no tensors")
    n_bytes = sum(tensor.nbytes for tensor in tensors.values())
    warnings = (*_oddities(tensors), *_other_dtype(config, tensors))
    return CheckpointWeights(folder, config, tensors, file_of, n_bytes, warnings)


def _read_shards(
    folder: Path, names: WeightNames, sums: Mapping[str, str]
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    index = folder / names.index
    try:
        weight_map, problem = shards_in_index(names.index, index.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{shown(str(index))} cannot be read: {error.strerror}") from error
    if problem:
        raise CheckpointError(f"{shown(str(folder))}: {problem}")
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(set(weight_map.values())):
        found = _READERS[names.format](folder / shard, sums.get(shard))
        promised = {name for name, where in weight_map.items() if where == shard}
        if lost := promised - found.keys():
            raise CheckpointError(
                f"{shown(str(folder / shard))} lacks {some(lost)}, which the index puts there"
            )
        if stray := found.keys() - promised:
            raise CheckpointError(f"{shown(str(folder / shard))} holds {some(stray)}, which the index lacks")
        tensors |= found
    return tensors, weight_map


def _other_dtype(config: PretrainedConfig, tensors: Mapping[str, torch.Tensor]) -> Iterable[str]:
    """Weights are cast to the config's dtype; where most of them lose by it, that is worth a word."""
    wanted = getattr(config, "dtype", None)
    held: Counter[torch.dtype] = Counter()
    for tensor in tensors.values():
        if tensor.is_floating_point():
            held[tensor.dtype] += tensor.numel()
    if isinstance(wanted, torch.dtype) and held:
        most = held.most_common(1)[0][0]
        if most != wanted and most.itemsize >= wanted.itemsize:
            yield f"weights are {_plain(most)}, but config.json says {_plain(wanted)}"


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _oddities(tensors: Mapping[str, torch.Tensor]) -> Iterable[str]:
    """One pass over the data. A bias of zeros is how training begins; a matrix of zeros is not."""
    zero, not_finite = [], []
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        wide = tensor if tensor.dtype.itemsize > 1 else tensor.float()
        low, high = (float(extreme) for extreme in torch.aminmax(wide))
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            not_finite.append(name)
        elif low == high == 0 and tensor.ndim > 1:
            zero.append(name)
    if not_finite:
        yield f"NaN or Inf in {some(not_finite)}"
    if zero:
        yield f"nothing but zeros in {some(zero)}"
