"""A transformers module with a checkpoint's weights in it, exactly as `from_pretrained` makes it.

transformers itself renames, splits, fuses and ties the tensors; here it is only made sure that nothing was
left to chance: a tensor that is missing, left over or of another shape is an error, never a random weight.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils import logging as transformers_logging

from milepost.errors import CheckpointError
from milepost.sources.names import first_line, shown, some
from milepost.weights.checkpoint import CheckpointWeights

_MASKS_AND_TABLES = re.compile(
    r"rotary(?:_pos)?_emb\.inv_freq$|rotary_emb\.(?:cos|sin)_cached$|\.attn\.(?:masked_)?bias$"
    r"|\.attention\.(?:masked_)?bias$|\.attn\.attention\.(?:masked_)?bias$|position_ids$"
)
"""Left over in old checkpoints: causal masks and rotary tables, which transformers makes anew."""


def load_module(weights: CheckpointWeights, dtype: str) -> PreTrainedModel:
    """A module on the CPU with the checkpoint's weights, in eval mode, without gradients.

    Args:
        dtype: `auto` (the config's dtype, else that of the first tensor) or a torch dtype's name. Parts that
            a model keeps in float32 stay so.

    Raises:
        CheckpointError: the weights do not fit the config.
    """
    module, told = _from_pretrained(weights, dtype)
    where = shown(str(weights.folder))
    if told["missing_keys"]:
        raise CheckpointError(
            f"{where} lacks weights that its config calls for: {some(told['missing_keys'])}"
        )
    left_over = [name for name in told["unexpected_keys"] if not _MASKS_AND_TABLES.search(name)]
    if left_over:
        raise CheckpointError(f"{where} has weights that its config does not know: {some(left_over)}")
    if told["mismatched_keys"] or told.get("error_msgs"):
        raise CheckpointError(f"{where} does not fit its config: {_other_shapes(weights)}")
    module.requires_grad_(False)
    module.eval()
    _own_memory(module, weights)
    return module


def _from_pretrained(weights: CheckpointWeights, dtype: str) -> tuple[PreTrainedModel, dict[str, Any]]:
    try:
        with _quiet():
            module, told = _class_for(weights.config).from_pretrained(
                None,
                config=weights.config,
                state_dict=dict(weights.tensors),
                dtype=dtype,
                output_loading_info=True,
            )
    except Exception as error:  # transformers tells of a misfit by many kinds of exception
        misfit = _other_shapes(weights) or first_line(error)
        raise CheckpointError(f"{shown(str(weights.folder))} does not fit its config: {misfit}") from error
    return module, told


def _other_shapes(weights: CheckpointWeights) -> str | None:
    """The tensors whose shape is not what the config says, where the module can be made without weights."""
    try:
        with torch.device("meta"):
            expected = _class_for(weights.config)(weights.config).state_dict()
    except Exception:  # the config alone is wrong; the caller tells what transformers said of it
        return None
    names = [
        name
        for name, tensor in weights.tensors.items()
        if name in expected and expected[name].shape != tensor.shape
    ]
    if not names:
        return None
    first = min(names)
    found, wanted = list(weights.tensors[first].shape), list(expected[first].shape)
    others = f", and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{shown(first)} has the shape {found}, not {wanted}{others}"


def _class_for(config: PretrainedConfig) -> type[PreTrainedModel]:
    """The class that AutoModelForCausalLM picks."""
    known = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    classes = known if isinstance(known, (list, tuple)) else [known]
    named = [one for one in classes if one.__name__ in (config.architectures or [])]
    return (named or list(classes))[0]


def _own_memory(module: PreTrainedModel, weights: CheckpointWeights) -> None:
    """Part the module from the tensors it was made of, which it may share memory with."""
    given = {tensor.untyped_storage().data_ptr() for tensor in weights.tensors.values()}
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.untyped_storage().data_ptr() in given:
            tensor.data = tensor.data.clone(memory_format=torch.preserve_format)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar and its table of missing weights: we raise instead."""
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
