"""Read the ranks and settings of a Megatron-LM checkpoint, without tensor data.

Legacy layout (megatron/training/checkpointing.py, get_checkpoint_name): `mp_rank_TT/model_optim_rng.pt`, with
pipeline stages `mp_rank_TT_PPP/`. In the torch_dist layout, `common.pt` has everything but tensors.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.sources.safe_unpickler import StandIn
from milepost.sources.torch_archive import StoredTensor, read_archive
from milepost.text.messages import shown, some

COMMON = "common.pt"
RANK_FILE = "model_optim_rng.pt"
_RANK_FOLDER = re.compile(r"mp_rank_(\d{2,})(?:_(\d{3}))?")
_EXPERT_FOLDER = re.compile(r"mp_rank_\d{2,}_\d{3}_\d{3}")
_CHUNK = re.compile(r"model(\d*)")
_MOST_RANKS = 100_000

ALLOWED = frozenset(
    {
        "argparse.Namespace",
        "io.BytesIO",
        "megatron.core.enums.ModelType",
        "megatron.core.optimizer.optimizer_config.OptimizerConfig",
        "megatron.core.rerun_state_machine.RerunDiagnostic",
        "megatron.core.rerun_state_machine.RerunMode",
        "megatron.core.rerun_state_machine.RerunState",
        "megatron.core.transformer.enums.AttnBackend",
        "megatron.core.transformer.enums.CudaGraphScope",
        "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray._reconstruct",
        "numpy.ndarray",
        "numpy.dtype",
        "numpy.dtypes.UInt32DType",
        "pathlib.PosixPath",
        "pathlib._local.PosixPath",
        "signal.Signals",
        "types.SimpleNamespace",
    }
)
"""Names that the files may use besides tensors: Megatron-LM's own list (megatron/core/safe_globals.py)."""

Rank = tuple[int, int]
"""Tensor-parallel and pipeline-parallel rank."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Arguments and position of the training run."""

    path: Path
    args: Mapping[str, Any]
    """Megatron's arguments; objects of its classes are `StandIn`s, dtypes are names."""
    iteration: int
    version: float


@dataclass(frozen=True, slots=True)
class RankFile:
    """One rank's part of a legacy checkpoint."""

    settings: Settings
    chunks: tuple[Mapping[str, StoredTensor], ...]
    """Tensors of the model by name, without byte entries; one mapping per virtual pipeline stage."""


def read_rank_file(path: Path) -> RankFile:
    """Read the file of one rank.

    Raises:
        CheckpointError: the file cannot be read, is damaged, or uses a name that Megatron does not write.
    """
    values = read_archive(path, ALLOWED)
    settings = _settings(path, values)
    found = {name: _CHUNK.fullmatch(name) for name in values if isinstance(name, str)}
    numbers = {int(match[1] or 0): name for name, match in found.items() if match}
    if sorted(numbers) != list(range(len(numbers))) or not numbers:
        raise CheckpointError(f"{shown(path)} has no model")
    return RankFile(settings, tuple(_tensors(path, values[numbers[i]]) for i in sorted(numbers)))


def read_common_file(path: Path) -> Settings:
    """Read the settings in the `common.pt` of a torch_dist checkpoint.

    Raises:
        CheckpointError: as `read_rank_file`.
    """
    return _settings(path, read_archive(path, ALLOWED))


def read_settings(folder: Path) -> Settings:
    """Arguments and position of the training run."""
    if (folder / COMMON).exists():
        return read_common_file(folder / COMMON)
    return read_rank_file(first_rank_file(folder)).settings


def first_rank_file(folder: Path) -> Path:
    """Return the file of the first rank.

    Raises:
        CheckpointError: there are no files of ranks.
    """
    ranks = ranks_among([path.parent.name for path in folder.glob(f"mp_rank_*/{RANK_FILE}")])
    if not ranks:
        raise CheckpointError(f"{shown(folder)} has no files of ranks")
    return folder / ranks[min(ranks)] / RANK_FILE


def ranks_among(folders: Collection[str]) -> dict[Rank, str]:
    """Return the folders of ranks among these names, by tensor- and pipeline-parallel rank."""
    found = {name: _RANK_FOLDER.fullmatch(name) for name in folders}
    return {(int(form[1]), int(form[2] or 0)): name for name, form in found.items() if form}


def has_experts(folders: Collection[str]) -> bool:
    """Return True if there are expert-parallel ranks."""
    return any(_EXPERT_FOLDER.fullmatch(name) for name in folders)


def rank_files(n_tensor: int, n_pipeline: int) -> dict[Rank, str]:
    """Return the file of each rank.

    Raises:
        CheckpointError: the numbers of ranks are not valid.
    """
    if not (1 <= n_tensor * n_pipeline <= _MOST_RANKS and n_tensor > 0):
        raise CheckpointError(f"its args give {n_tensor} x {n_pipeline} ranks")
    stage = "_{:03d}" if n_pipeline > 1 else ""
    return {
        (tensor, pipeline): f"mp_rank_{tensor:02d}{stage.format(pipeline)}/{RANK_FILE}"
        for tensor in range(n_tensor)
        for pipeline in range(n_pipeline)
    }


def missing_ranks(settings: Settings, files: Collection[str]) -> str | None:
    """Return a problem if a file of a rank is missing (paths relative to the folder); None otherwise."""
    sizes = [settings.args.get(f"{kind}_model_parallel_size", 1) for kind in ("tensor", "pipeline")]
    if any(type(size) is not int for size in sizes):
        return "its args give no parallel sizes"
    try:
        expected = rank_files(*sizes)
    except CheckpointError as error:
        return error.message
    missing = [name for name in expected.values() if name not in files]
    return f"missing: {some(missing)}" if missing else None


def _settings(path: Path, values: Any) -> Settings:
    name = shown(path)
    args = values.get("args") if isinstance(values, dict) else None
    if not isinstance(args, StandIn):
        raise CheckpointError(f"{name} has no args, which give the model's shape")
    iteration, version = values.get("iteration"), values.get("checkpoint_version", 0)
    if type(iteration) is not int or not isinstance(version, (int, float)):
        raise CheckpointError(f"{name} has no iteration")
    return Settings(path, args.attributes, iteration, version)


def _tensors(path: Path, chunk: Any) -> dict[str, StoredTensor]:
    if not isinstance(chunk, dict):
        raise CheckpointError(f"{shown(path)} has no named weights")
    if "language_model" in chunk:
        raise CheckpointError(
            f"{shown(path)} is from before megatron-core, which cannot be read",
            "convert it with Megatron-LM's tools/checkpoint/convert.py",
        )
    tensors = {}
    for name, value in chunk.items():
        if not isinstance(name, str) or name.endswith("_extra_state"):
            continue
        if not isinstance(value, StoredTensor):
            raise CheckpointError(f"{shown(path)}: {shown(name)} is not a tensor")
        tensors[name] = value
    return tensors
