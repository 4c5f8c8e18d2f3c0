"""A PEFT adapter over the model it changes, merged in memory by peft itself.

The base stays as it is: a module of its own per adapter shares the base's memory, and peft puts new tensors
in place of those that the adapter changes.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from milepost.errors import CheckpointError
from milepost.sources.config_file import read_config_file
from milepost.sources.formats.peft import ADAPTER_CONFIG, ADAPTER_FILES
from milepost.sources.names import first_line, shown, some
from milepost.weights.asked import Asked, Found
from milepost.weights.read_bin import read_bin
from milepost.weights.read_safetensors import read_safetensors

_MERGED_ANEW = frozenset({"LORA"})
"""Kinds that put the merged weight in a tensor of its own, so that the base's may be shared."""
_MERGEABLE = _MERGED_ANEW | {"IA3", "LOHA", "LOKR", "OFT"}
_PLAIN_STARTS = frozenset({"gaussian", "orthogonal", "eva"})
"""Ways to begin training that leave the base as it is; others would change it by data that is not here."""
_ADAPTER = "default"


@dataclass(frozen=True, slots=True)
class Base:
    """The model that adapters change."""

    config: PretrainedConfig
    module: PreTrainedModel
    """On the CPU, in float32, never changed."""


def read_adapter(asked: Asked) -> Found:
    """All weights of the base with the adapter merged into them, in float32, by the module's names.

    What the adapter leaves alone shares the base's memory.

    Raises:
        CheckpointError: the adapter is damaged, asks for code, cannot be merged or does not fit the base.
    """
    assert asked.base is not None
    name = next((name for name in ADAPTER_FILES if (asked.folder / name).is_file()), ADAPTER_FILES[0])
    read = read_safetensors if name.endswith(".safetensors") else read_bin
    tensors = read(asked.folder / name, asked.sha256.get(name))
    path = asked.folder / ADAPTER_CONFIG
    settings = _checked(path, read_config_file(path), tensors)
    merged = _merge(asked.folder / name, asked.base, settings, tensors)
    return Found(merged, dict.fromkeys(merged, name))


def _checked(path: Path, raw: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The adapter's settings, without what would make peft import modules or look for files.

    Raises:
        CheckpointError: they ask for more than merging can do.
    """
    name = shown(str(path))
    kind = raw.get("peft_type")
    if kind not in _MERGEABLE:
        raise CheckpointError(f"{name}: adapters of type {shown(str(kind))} cannot be merged into their base")
    if raw.get("megatron_config"):
        raise CheckpointError(f"{name} asks peft to import modules (megatron_config), which is never done")
    start = raw.get("init_lora_weights", True)
    if not isinstance(start, bool) and start not in _PLAIN_STARTS:
        raise CheckpointError(
            f"{name}: its training began with a changed base (init_lora_weights {shown(str(start))})",
            "save the adapter converted to plain LoRA (path_initial_model_for_weight_conversion)",
        )
    largest = max((max(tensor.shape, default=1) for tensor in tensors.values()), default=0)
    for rank in (raw.get("r", 1), *(raw.get("rank_pattern") or {}).values()):
        if not isinstance(rank, int) or rank > largest:
            raise CheckpointError(
                f"{name} does not fit its weights: no tensor has the rank {shown(str(rank))}"
            )
    return {**raw, "base_model_name_or_path": None, "auto_mapping": None, "inference_mode": True}


def _merge(
    file: Path, base: Base, settings: Mapping[str, Any], tensors: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    from peft import PeftConfig, PeftModel, set_peft_model_state_dict

    shares = settings["peft_type"] in _MERGED_ANEW
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():  # peft begins with random numbers
            warnings.simplefilter("ignore")  # advice to whom trains; what does not fit is an error below
            adapted = PeftModel(
                _sharing(base.module, clone=not shares), PeftConfig.from_peft_type(**settings)
            )
        told = set_peft_model_state_dict(adapted, tensors, _ADAPTER)
    except Exception as error:  # each kind of adapter tells of a misfit in its own way
        raise CheckpointError(f"{shown(str(file))} does not fit its base: {first_line(error)}") from error
    wanted = {name for name in adapted.state_dict() if _ADAPTER in name.split(".")}
    if told.unexpected_keys:
        raise CheckpointError(
            f"{shown(str(file))} has weights that its base has no place for: {some(told.unexpected_keys)}"
        )
    if lost := wanted & set(told.missing_keys):
        raise CheckpointError(f"{shown(str(file))} lacks weights that its config calls for: {some(lost)}")
    try:
        merged = adapted.merge_and_unload(safe_merge=True)
    except Exception as error:  # as above; NaN in an adapter is one of the reasons
        raise CheckpointError(f"{shown(str(file))} cannot be merged: {first_line(error)}") from error
    return _without_ties(merged)


def _sharing(module: PreTrainedModel, *, clone: bool) -> PreTrainedModel:
    """A module of the same structure; its parameters are new objects over the same memory, or over a copy."""
    parts = [*module.parameters(), *module.buffers()]
    memo: dict[int, Any] = {}
    for part in parts:
        data = part.data.clone() if clone else part.data
        is_parameter = isinstance(part, torch.nn.Parameter)
        memo[id(part)] = torch.nn.Parameter(data, requires_grad=False) if is_parameter else data
    return copy.deepcopy(module, memo)


def _without_ties(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every tensor of the module's state, one that stands under two names only under the first."""
    seen: set[tuple[int, int]] = set()
    tensors = {}
    for name, tensor in module.state_dict().items():
        place = (tensor.data_ptr(), math.prod(tensor.shape))
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        tensors[name] = tensor
    return tensors
