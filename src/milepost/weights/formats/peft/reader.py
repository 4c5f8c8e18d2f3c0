"""Read a PEFT adapter, to be merged into its base model by `milepost.weights.formats.peft.merging`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from milepost.errors import CheckpointError
from milepost.sources.config_file import read_config_file
from milepost.sources.formats.peft.layout import ADAPTER_CONFIG, ADAPTER_FILES
from milepost.text.messages import shown
from milepost.weights.adapter import Adapter
from milepost.weights.formats.huggingface.bin import read_bin
from milepost.weights.formats.huggingface.safetensors import read_safetensors
from milepost.weights.reader import Reader, ReadRequest, ReadResult

MERGED_ANEW = frozenset({"LORA"})
"""Kinds that write the merged weight to a new tensor, so that the base's memory may be shared."""
_MERGEABLE = MERGED_ANEW | {
    "IA3", "LOHA", "LOKR", "OFT", "BOFT", "HRA", "LN_TUNING", "SHIRA", "MISS", "C3A", "DELORA",
    "TRAINABLE_TOKENS",
}  # fmt: skip
_PLAIN_STARTS = frozenset({"gaussian", "orthogonal", "eva"})
"""Initial values that leave the base unchanged; others would change it by data that are not available."""
_NO_SIZE = re.compile(r"alpha|seed|step|scal|lambda|tau|rho|version|inference")
"""Parts of the names of settings that may be large without needing memory."""
_UNMERGEABLE = {
    "alora_invocation_tokens": "applies from a certain token on only (aLoRA)",
    "use_qalora": "pools its inputs (QALoRA)",
    "arrow_config": "routes between several adapters (Arrow)",
    "monteclora_config": "draws its weights at random (MonteCLoRA)",
}
"""LoRA settings whose forward pass cannot be merged into a weight."""


def read_adapter(request: ReadRequest) -> ReadResult:
    """Read the adapter's tensors by the names in its file, with the base and settings to merge them.

    Raises:
        CheckpointError: the adapter is damaged, asks to run code, or is of a kind that cannot be merged.
    """
    assert request.base is not None
    name = next((name for name in ADAPTER_FILES if (request.folder / name).is_file()), ADAPTER_FILES[0])
    read = read_safetensors if name.endswith(".safetensors") else read_bin
    tensors = read(request.folder / name, request.sha256.get(name))
    path = request.folder / ADAPTER_CONFIG
    settings = _checked(path, read_config_file(path), tensors)
    adapter = Adapter(request.folder / name, request.base, settings)
    return ReadResult(tensors, dict.fromkeys(tensors, name), adapter=adapter)


def _checked(path: Path, raw: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return the adapter's settings, without those that make peft import modules or search for files."""
    name = shown(path)
    kind = raw.get("peft_type")
    if kind not in _MERGEABLE:
        raise CheckpointError(f"{name}: adapters of type {shown(kind)} cannot be merged into their base")
    if raw.get("megatron_config"):
        raise CheckpointError(f"{name} asks peft to import modules (megatron_config), which is never done")
    for key, what in _UNMERGEABLE.items():
        if raw.get(key):
            raise CheckpointError(f"{name}: its LoRA {what}, so it cannot be merged into its base ({key})")
    start = raw.get("init_lora_weights", True)
    if not isinstance(start, bool) and start not in _PLAIN_STARTS:
        raise CheckpointError(
            f"{name}: its training began with a changed base (init_lora_weights {shown(start)})",
            "save the adapter converted to plain LoRA (path_initial_model_for_weight_conversion)",
        )
    _check_sizes(name, raw, tensors)
    return {**raw, "base_model_name_or_path": None, "auto_mapping": None, "inference_mode": True}


def _check_sizes(name: str, raw: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that no setting needs more memory than the tensors of the file justify."""
    largest = max((max(tensor.shape, default=1) for tensor in tensors.values()), default=0)
    ranks = raw.get("rank_pattern") or {}
    for rank in (raw.get("r", 1), *(ranks.values() if isinstance(ranks, dict) else [ranks])):
        if not isinstance(rank, int) or rank > largest:
            raise CheckpointError(f"{name} does not fit its weights: no tensor has the rank {shown(rank)}")
    most = max((tensor.numel() for tensor in tensors.values()), default=0)
    for key, value in raw.items():
        if isinstance(value, (int, float)) and value > most and not _NO_SIZE.search(key):
            raise CheckpointError(f"{name} does not fit its weights: {shown(key)} is {shown(value)}")
    layers = raw.get("layer_replication") or []
    try:
        n_layers = sum(int(end) - int(begin) for begin, end in layers)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{name} has a layer_replication that is not a list of ranges") from error
    if n_layers > len(tensors):
        raise CheckpointError(
            f"{name} does not fit its weights: {n_layers} replicated layers, {len(tensors)} tensors"
        )


READER = Reader(read_adapter)
