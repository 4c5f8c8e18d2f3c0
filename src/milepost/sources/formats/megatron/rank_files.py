"""Files of Megatron-LM checkpoints: which ranks there are, and what a rank's file says. Reads no tensor data.

Legacy layout (megatron/training/checkpointing.py, get_checkpoint_name): `mp_rank_TT/model_optim_rng.pt`, with
pipeline stages `mp_rank_TT_PPP/`. In the torch_dist layout `common.pt` says what is not a tensor.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.errors import CheckpointError
from milepost.sources.names import shown, some

if TYPE_CHECKING:
    from milepost.sources.torch_archive import StoredTensor

TRACKER = "latest_checkpointed_iteration.txt"
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
"""What the files of Megatron-LM may name besides tensors: its own list (megatron/core/safe_globals.py)."""

Rank = tuple[int, int]
"""Tensor-parallel and pipeline-parallel rank."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a checkpoint says of itself."""

    path: Path
    args: Mapping[str, Any]
    """Megatron's own arguments; their classes as `StandIn`s, dtypes as their names."""
    iteration: int
    version: float


@dataclass(frozen=True, slots=True)
class RankFile:
    """One rank's part of a legacy checkpoint."""

    settings: Settings
    chunks: tuple[Mapping[str, StoredTensor], ...]
    """Tensors of the model by name; one entry per virtual pipeline stage. Byte entries are left out."""


def read_rank_file(path: Path) -> RankFile:
    """What a rank's file holds.

    Raises:
        CheckpointError: it cannot be read, is damaged, or names anything but what Megatron writes.
    """
    from milepost.sources.torch_archive import read_archive

    values = read_archive(path, ALLOWED)
    settings = _settings(path, values)
    found = {name: _CHUNK.fullmatch(name) for name in values if isinstance(name, str)}
    numbers = {int(match[1] or 0): name for name, match in found.items() if match}
    if sorted(numbers) != list(range(len(numbers))) or not numbers:
        raise CheckpointError(f"{shown(str(path))} holds no model")
    return RankFile(settings, tuple(_tensors(path, values[numbers[i]]) for i in sorted(numbers)))


def read_common_file(path: Path) -> Settings:
    """What the `common.pt` of a torch_dist checkpoint says.

    Raises:
        CheckpointError: as `read_rank_file`.
    """
    from milepost.sources.torch_archive import read_archive

    return _settings(path, read_archive(path, ALLOWED))


def read_settings(folder: Path) -> Settings:
    """What a checkpoint's `common.pt` says of it, or its first rank.

    Raises:
        CheckpointError: as `read_rank_file`; or neither is there.
    """
    if (folder / COMMON).exists():
        return read_common_file(folder / COMMON)
    return read_rank_file(first_rank_file(folder)).settings


def first_rank_file(folder: Path) -> Path:
    """The file of the first rank that is there.

    Raises:
        CheckpointError: there is none.
    """
    ranks = ranks_among([path.parent.name for path in folder.glob(f"mp_rank_*/{RANK_FILE}")])
    if not ranks:
        raise CheckpointError(f"{shown(str(folder))} has no files of ranks")
    return folder / ranks[min(ranks)] / RANK_FILE


def ranks_among(folders: Collection[str]) -> dict[Rank, str]:
    """The folders of ranks among these names, by tensor- and pipeline-parallel rank."""
    found = {name: _RANK_FOLDER.fullmatch(name) for name in folders}
    return {(int(form[1]), int(form[2] or 0)): name for name, form in found.items() if form}


def has_experts(folders: Collection[str]) -> bool:
    """Whether the ranks are split by experts too."""
    return any(_EXPERT_FOLDER.fullmatch(name) for name in folders)


def rank_files(n_tensor: int, n_pipeline: int) -> dict[Rank, str]:
    """The files that ranks of these sizes write, by rank.

    Raises:
        CheckpointError: the sizes are none.
    """
    if not (1 <= n_tensor * n_pipeline <= _MOST_RANKS and n_tensor > 0):
        raise CheckpointError(f"its args speak of {n_tensor} x {n_pipeline} ranks")
    stage = "_{:03d}" if n_pipeline > 1 else ""
    return {
        (tensor, pipeline): f"mp_rank_{tensor:02d}{stage.format(pipeline)}/{RANK_FILE}"
        for tensor in range(n_tensor)
        for pipeline in range(n_pipeline)
    }


def missing_ranks(settings: Settings, files: Collection[str]) -> str | None:
    """Which files of ranks are not there, by the sizes that the args tell; None where all are.

    Args:
        files: relative to the checkpoint's folder.
    """
    sizes = [settings.args.get(f"{kind}_model_parallel_size", 1) for kind in ("tensor", "pipeline")]
    if any(type(size) is not int for size in sizes):
        return "its args tell no parallel sizes"
    try:
        expected = rank_files(*sizes)
    except CheckpointError as error:
        return error.message
    missing = [name for name in expected.values() if name not in files]
    return f"missing: {some(missing)}" if missing else None


def _settings(path: Path, values: Any) -> Settings:
    from milepost.sources.torch_archive import StandIn

    name = shown(str(path))
    args = values.get("args") if isinstance(values, dict) else None
    if not isinstance(args, StandIn):
        raise CheckpointError(f"{name} holds no args, from which a model's shape is known")
    iteration, version = values.get("iteration"), values.get("checkpoint_version", 0)
    if type(iteration) is not int or not isinstance(version, (int, float)):
        raise CheckpointError(f"{name} tells no iteration")
    return Settings(path, args.attributes, iteration, version)


def _tensors(path: Path, chunk: Any) -> dict[str, StoredTensor]:
    from milepost.sources.torch_archive import StoredTensor

    if not isinstance(chunk, dict):
        raise CheckpointError(f"{shown(str(path))} holds no model by names")
    if "language_model" in chunk:
        raise CheckpointError(
            f"{shown(str(path))} is of a model from before megatron-core, which cannot be read",
            "Megatron-LM's tools/checkpoint/convert.py makes a new one of it",
        )
    tensors = {}
    for name, value in chunk.items():
        if not isinstance(name, str) or name.endswith("_extra_state"):
            continue
        if not isinstance(value, StoredTensor):
            raise CheckpointError(f"{shown(str(path))}: {shown(name)} is not a tensor")
        tensors[name] = value
    return tensors
