"""Read and check a checkpoint's config and tensors from a folder, without making a module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from milepost.errors import CheckpointError
from milepost.sources.local_folder import find_config
from milepost.sources.pickle_scan import unread_pickles
from milepost.text.language import Phrase
from milepost.text.messages import shown
from milepost.weights.adapter import Base
from milepost.weights.checkpoint_weights import CheckpointWeights
from milepost.weights.config import read_config
from milepost.weights.formats import reader_of
from milepost.weights.formats.peft.merging import merged
from milepost.weights.in_memory_files import HeldFiles
from milepost.weights.odd_tensors import odd_tensors, other_dtype
from milepost.weights.reader import ReadRequest, ReadResult
from milepost.weights.wrapped_names import renamed

_HUGGING_FACE = frozenset({"safetensors", "bin"})
"""Formats whose pickles are never read, so that they are scanned; other trainers' are read, safely."""


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
    """Read and check a checkpoint. Only files are read, so a background thread may call it.

    Args:
        folder: as `milepost.sources.fetch` returns it.
        format: as in `Checkpoint.format`.
        sha256: path of a weight file in the folder to its expected SHA-256; it makes sure that the checkpoint
            in memory is the one that was identified.
        config_file: a config in place of the checkpoint's own.
        base: the base model of an adapter, as `milepost.weights.Bases` gives it.
        merge: merge an adapter at once. That makes modules, so only the main thread may do it; otherwise
            the main thread has to call `milepost.weights.merged` with the result.
        held: files that were read already, when the checkpoint was identified.

    Raises:
        CheckpointError: a file is damaged, missing, not safe or not the one in the index; it is named.
    """
    reader = reader_of(format)
    if reader is None:
        raise CheckpointError(
            Phrase("{folder}: {format} checkpoints cannot be read yet", folder=shown(folder), format=format)
        )
    config = base.config if base is not None else read_config(folder, format, config_file)
    request = ReadRequest(
        folder=folder,
        format=format,
        config=config,
        config_file=config_file or find_config(folder),
        sha256=sha256 or {},
        base=base,
        held=held,
    )
    result = _without_wrappers(reader.read(request))
    if not result.tensors:
        raise CheckpointError(Phrase("{folder} has no tensors", folder=shown(folder)))
    weights = CheckpointWeights(
        folder=folder,
        config=result.config or config,
        tensors=result.tensors,
        file_of=result.file_of,
        n_bytes=sum(tensor.nbytes for tensor in result.tensors.values()),
        warnings=_warnings(request, result),
        adapter=result.adapter,
    )
    return merged(weights) if merge else weights


def _warnings(request: ReadRequest, result: ReadResult) -> tuple[str, ...]:
    warnings = list(result.warnings)
    if result.adapter is None:
        warnings += odd_tensors(result.tensors)
    if request.base is None:
        warnings += other_dtype(result.config or request.config, result.tensors)
    if request.format in _HUGGING_FACE:
        warnings += unread_pickles(request.folder, set(result.file_of.values()))
    return tuple(warnings)


def _without_wrappers(result: ReadResult) -> ReadResult:
    """Remove the names of wrappers (torch.compile, DDP, FSDP) from the tensors' names."""
    names = renamed(result.tensors)
    changed = next((name for name, own in names.items() if name != own), None)
    if changed is None:
        return result
    remark = (
        f"a wrapper's name is left out of its tensors' names: {shown(changed)} is {shown(names[changed])}"
    )
    return replace(
        result,
        tensors={names[name]: tensor for name, tensor in result.tensors.items()},
        file_of={names.get(name, name): file for name, file in result.file_of.items()},
        warnings=(*result.warnings, remark),
    )
