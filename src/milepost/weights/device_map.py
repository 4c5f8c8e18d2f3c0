"""Spread a module that is larger than one GPU over several, with accelerate."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from milepost.errors import CheckpointError
from milepost.text.language import Phrase


def spread(module: PreTrainedModel, device: str) -> PreTrainedModel:
    """Put a module's layers on the GPUs that this process sees, about as many on each.

    Args:
        module: on the CPU.
        device: where this process computes; without a GPU the module stays as it is.

    Raises:
        CheckpointError: the GPUs together have too little free memory.
    """
    if not device.startswith("cuda"):
        return module.to(device)
    from accelerate import dispatch_model, infer_auto_device_map  # not everywhere where models are scored
    from accelerate.utils import get_balanced_memory

    whole: dict[str, Any] = {
        "no_split_module_classes": getattr(module, "_no_split_modules", None),
        "dtype": next(module.parameters()).dtype,
    }
    places = infer_auto_device_map(module, max_memory=get_balanced_memory(module, **whole), **whole)
    if any(place in ("cpu", "disk") for place in places.values()):
        raise CheckpointError(
            Phrase("it does not fit into the free memory of {n} GPUs", n=torch.cuda.device_count()),
            "free the GPUs, use more of them, or pass --dtype bfloat16",
        )
    spread_out: PreTrainedModel = dispatch_model(module, places)
    return spread_out
