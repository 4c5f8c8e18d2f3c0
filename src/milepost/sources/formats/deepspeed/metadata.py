"""Read the state files of a DeepSpeed ZeRO checkpoint, without tensor data.

Names and keys: DeepSpeed 0.19, deepspeed/checkpoint/constants.py, runtime/engine.py (`_save_checkpoint`),
runtime/zero/stage_1_and_2.py and stage3.py (`state_dict`), utils/zero_to_fp32.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import CheckpointError
from milepost.sources.safe_unpickler import StandIn
from milepost.sources.torch_archive import StoredTensor, read_archive
from milepost.text.messages import shown, some

MODEL_STATES = "_model_states.pt"
OPTIM_STATES = "_optim_states.pt"

ALLOWED = frozenset(
    {
        "deepspeed.runtime.fp16.loss_scaler.LossScaler",
        "deepspeed.runtime.zero.config.ZeroStageEnum",
        "deepspeed.utils.tensor_fragment.fragment_address",
    }
)
"""Names that the optimizer's files may use besides tensors; the module's files need none."""
_RANK = re.compile(r"zero_pp_rank_(\d+)_mp_rank_(\d+)_")
_TENSOR_RANK = re.compile(r"mp_rank_(\d+)_")
_MOST_RANKS = 100_000

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelStates:
    """The contents of a file of the module's state."""

    path: Path
    module: Mapping[str, StoredTensor]
    """Complete with ZeRO-1 and -2, in the dtype of the training; empty tensors with ZeRO-3."""
    groups: tuple[Mapping[str, Shape], ...]
    """Name and shape of every trained weight, in the order in which the flat partitions hold them."""
    buffers: tuple[str, ...]
    shared: Mapping[str, str]
    """Name to name of weights that are stored under another name."""
    frozen: Mapping[str, Shape]
    """Weights that were not trained, so that they are not in the optimizer."""
    frozen_parts: Mapping[str, StoredTensor]
    """This rank's part of each of these weights, flat; ZeRO-3 only."""
    stage: int
    n_ranks: int
    """Data-parallel ranks, each of which writes a file of its optimizer's state."""
    step: int


@dataclass(frozen=True, slots=True)
class OptimStates:
    """The contents of a file of one rank's optimizer state."""

    path: Path
    partitions: tuple[StoredTensor, ...]
    """This rank's part of the fp32 master weights, flat: one per group (ZeRO-1, -2) or sub-group (ZeRO-3)."""
    stage: int
    n_ranks: int
    steps: tuple[StoredTensor | int, ...]
    """Number of steps of the optimizer, once per parameter group."""


def rank_in(name: str) -> int:
    """Return the data-parallel rank in a file's name; 0 without one."""
    form = _RANK.search(name)
    return int(form[1]) if form else 0


def states_among(names: Iterable[str], ending: str) -> list[str]:
    """Return the files with this ending, by rank."""
    return sorted((name for name in names if name.endswith(ending)), key=rank_in)


def missing_files(states: ModelStates, names: Iterable[str]) -> str | None:
    """Compare a folder's files with the number of ranks in the module's state; return a problem or None."""
    names = list(names)
    tensor_ranks = {int(form[1]) for name in names if (form := _TENSOR_RANK.search(name))}
    if tensor_ranks - {0}:
        return "it is split over tensor or pipeline ranks (mp_rank_01), which cannot be read"
    if states.stage not in range(4) or not 1 <= states.n_ranks <= _MOST_RANKS:
        return f"{shown(states.path.name)} has no valid ZeRO stage or number of ranks"
    kinds = {OPTIM_STATES: states.n_ranks if states.stage else 0}
    kinds[MODEL_STATES] = states.n_ranks if states.stage == 3 else 1
    for ending, wanted in kinds.items():
        found = {rank_in(name) for name in states_among(names, ending)}
        if lost := set(range(wanted)) - found:
            head = "zero_pp_rank_{}_mp_rank_00" if wanted > 1 else "mp_rank_00"
            return f"missing: {some(f'{head.format(rank)}{ending}' for rank in lost)}"
        if ending == OPTIM_STATES and wanted and found - set(range(wanted)):
            return f"it has files of {len(found)} ranks, but was written by {wanted}"
    return None


def read_model_states(path: Path) -> ModelStates:
    """Read a `*_model_states.pt`.

    Raises:
        CheckpointError: the file cannot be read, is damaged, names anything but tensors, or has other
            contents.
    """
    values = read_archive(path)
    try:
        return _model_states(path, values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{shown(path)} is not a model state file of DeepSpeed") from error


def read_optim_states(path: Path) -> OptimStates:
    """Read a `*_optim_states.pt`.

    Raises:
        CheckpointError: the file cannot be read, is damaged, uses a name that is not allowed, or has other
            contents.
    """
    values = read_archive(path, ALLOWED)
    try:
        return _optim_states(path, values["optimizer_state_dict"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(f"{shown(path)} is not an optimizer state file of DeepSpeed ZeRO") from error


def _model_states(path: Path, values: Any) -> ModelStates:
    zero = values["ds_config"].get("zero_optimization") or {}
    return ModelStates(
        path=path,
        module=_tensors(values["module"]),
        groups=tuple(_shapes(group) for group in values.get("param_shapes") or ()),
        buffers=tuple(str(name) for name in values.get("buffer_names") or ()),
        shared={str(name): str(other) for name, other in dict(values.get("shared_params") or {}).items()},
        frozen=_shapes(values.get("frozen_param_shapes") or {}),
        frozen_parts=_tensors(values.get("frozen_param_fragments") or {}),
        stage=int(zero.get("stage", 0)),
        n_ranks=int(values["dp_world_size"]),
        step=int(values["global_steps"]),
    )


def _optim_states(path: Path, values: Any) -> OptimStates:
    stage = values["zero_stage"]
    number = int(stage.arguments[0] if isinstance(stage, StandIn) else stage)
    whole = number == 3
    count = values["partition_count"]
    if any(padding for group in values.get("param_alignment_paddings") or () for padding in group):
        raise CheckpointError(f"{shown(path)} has padding in single weights, which cannot be read")
    base = values["optimizer_state_dict" if whole else "base_optimizer_state"]
    return OptimStates(
        path=path,
        partitions=_flat(values["fp32_flat_groups" if whole else "single_partition_of_fp32_groups"]),
        stage=number,
        n_ranks=int(max(count) if isinstance(count, (list, tuple)) else count),
        steps=_steps(base),
    )


def _steps(base: Any) -> tuple[StoredTensor | int, ...]:
    groups = base.get("state") if isinstance(base, dict) else None
    found = [state.get("step") for state in groups.values()] if isinstance(groups, dict) else []
    return tuple(step for step in found if isinstance(step, (StoredTensor, int)))


def _flat(value: Any) -> tuple[StoredTensor, ...]:
    partitions = tuple(value)
    if not partitions or not all(
        isinstance(part, StoredTensor) and len(part.shape) == 1 for part in partitions
    ):
        raise ValueError("no flat partitions")
    return partitions


def _tensors(value: Any) -> dict[str, StoredTensor]:
    return {str(name): stored for name, stored in value.items() if isinstance(stored, StoredTensor)}


def _shapes(value: Any) -> dict[str, Shape]:
    shapes = {str(name): tuple(shape) for name, shape in value.items()}
    if not all(type(n) is int and n >= 0 for shape in shapes.values() for n in shape):
        raise ValueError("no shapes")
    if sum(math.prod(shape) for shape in shapes.values()) >= 2**62:
        raise ValueError("more elements than any")
    return shapes
