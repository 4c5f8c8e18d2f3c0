"""Read and check a checkpoint's config and tensors. Knows files, not modules."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import PretrainedConfig

from milepost.errors import CheckpointError
from milepost.sources.local import find_config
from milepost.sources.names import shown, some
from milepost.sources.pickle_scan import unread_pickles
from milepost.weights.config import read_config
from milepost.weights.reader import Asked, Found
from milepost.weights.readers import READERS
from milepost.weights.wrapped_names import renamed

if TYPE_CHECKING:
    from milepost.weights.formats.peft.base_model import Base
    from milepost.weights.formats.peft.reader import Adapter
    from milepost.weights.in_memory_files import HeldFiles

FEW_CORES = 4
"""With fewer cores, one thread reads the weights beside the thread that scores."""
_HUGGING_FACE = frozenset({"safetensors", "bin"})
"""Formats whose other files are nothing to the model; in those of trainers pickles are read, safely."""


@dataclass(frozen=True, slots=True)
class CheckpointWeights:
    """One checkpoint in memory."""

    folder: Path
    config: PretrainedConfig
    tensors: dict[str, torch.Tensor]
    """Tensors by name (the names in the files, or transformers' names for other formats); on the CPU, in the
    files' dtypes.
    """
    file_of: Mapping[str, str]
    """The name of the file that each tensor came from."""
    n_bytes: int
    warnings: tuple[str, ...] = ()
    """Suspicious but possibly intended: matrices of zeros, NaN or Inf, a dtype other than the config's."""
    adapter: Adapter | None = None
    """If set, the tensors are an adapter's, which `formats.peft.merging.merged` merges into its base."""

    def file_with(self, tensor: str) -> str:
        """Path of the file with a tensor, for messages; if none has it, of the only file or of the folder."""
        files = set(self.file_of.values())
        only = next(iter(files)) if len(files) == 1 else ""
        return shown(str(self.folder / self.file_of.get(tensor, only)))


def read_checkpoint(
    folder: Path,
    format: str,
    sha256: Mapping[str, str] | None = None,
    *,
    config_file: Path | None = None,
    base: Base | None = None,
    merge: bool = True,
    held: HeldFiles | None = None,
) -> CheckpointWeights:
    """Read and check a checkpoint. Only files are read, so it may run in a thread, ahead of its turn.

    Args:
        folder: as `milepost.sources.fetch` returns it.
        format: as in `Checkpoint.format`.
        sha256: by path of the weight file in the folder, what its bytes must hash to: the checkpoint that was
            identified is then the one in memory, whatever happened to the files in between.
        config_file: a config in place of the checkpoint's own.
        base: for an adapter, the model it changes, as `milepost.weights.formats.peft.base_model` gives it.
        merge: whether to merge an adapter at once, which makes modules: for the main thread only. Else
            `milepost.weights.merged` is to be called there with what this returns.
        held: files that were read already, when the checkpoint was identified.

    Raises:
        CheckpointError: naming the file that is damaged, missing, not what the index says, or not safe.
    """
    read = READERS.get(format)
    if read is None:
        raise CheckpointError(f"{shown(str(folder))}: {format} checkpoints cannot be read yet")
    config = base.config if base is not None else read_config(folder, format, config_file)
    found = read(
        Asked(
            folder=folder,
            format=format,
            config=config,
            config_file=config_file or find_config(folder),
            sha256=sha256 or {},
            base=base,
            held=held,
        )
    )
    found = _without_wrappers(found)
    if not found.tensors:
        raise CheckpointError(f"{shown(str(folder))} holds no tensors")
    config = found.config or config
    n_bytes = sum(tensor.nbytes for tensor in found.tensors.values())
    other_dtype = () if base is not None else _other_dtype(config, found.tensors)
    pickles = unread_pickles(folder, set(found.file_of.values())) if format in _HUGGING_FACE else ()
    odd = () if found.adapter is not None else oddities(found.tensors)
    warnings = (*found.warnings, *odd, *other_dtype, *pickles)
    weights = CheckpointWeights(
        folder, config, found.tensors, found.file_of, n_bytes, warnings, found.adapter
    )
    if not merge or found.adapter is None:
        return weights
    from milepost.weights.formats.peft.merging import merged

    return merged(weights)


def _without_wrappers(found: Found) -> Found:
    """Return the result without wrapper names (torch.compile, DDP, FSDP) in the tensors' names."""
    names = renamed(found.tensors)
    changed = next((name for name, own in names.items() if name != own), None)
    if changed is None:
        return found
    remark = (
        f"a wrapper's name is left out of its tensors' names: {shown(changed)} is {shown(names[changed])}"
    )
    return replace(
        found,
        tensors={names[name]: tensor for name, tensor in found.tensors.items()},
        file_of={names.get(name, name): file for name, file in found.file_of.items()},
        warnings=(*found.warnings, remark),
    )


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


def _extremes(tensor: torch.Tensor) -> tuple[float, float]:
    wide = tensor if tensor.dtype.itemsize > 1 else tensor.float()
    low, high = torch.aminmax(wide)
    return float(low), float(high)


def oddities(tensors: Mapping[str, torch.Tensor]) -> Iterable[str]:
    """Matrices of zeros, NaN and Inf; a bias of zeros is how training begins, a matrix of zeros is not."""
    zero, not_finite = [], []
    floats = {name: one for name, one in tensors.items() if one.is_floating_point() and one.numel()}
    if (os.cpu_count() or 1) < FEW_CORES:
        extremes = list(map(_extremes, floats.values()))
    else:
        with ThreadPoolExecutor(2) as pool:
            extremes = list(pool.map(_extremes, floats.values()))
    for (name, tensor), (low, high) in zip(floats.items(), extremes, strict=True):
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            not_finite.append(name)
        elif low == high == 0 and tensor.ndim > 1:
            zero.append(name)
    if not_finite:
        yield f"NaN or Inf in {some(not_finite)}"
    if zero:
        yield f"nothing but zeros in {some(zero)}"
