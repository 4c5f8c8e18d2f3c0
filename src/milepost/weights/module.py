"""Create a transformers module with a checkpoint's weights, exactly as `from_pretrained` does.

transformers itself renames, splits, fuses and ties the tensors; here it is only made sure that nothing was
left to chance: a tensor that is missing, left over or of another shape is an error, never a random weight.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch
from transformers import PreTrainedModel

from milepost.errors import CheckpointError
from milepost.sources.names import first_line, shown, some
from milepost.weights.checkpoint import CheckpointWeights
from milepost.weights.extra_tensors import judged
from milepost.weights.meta_model import class_for, named_tensors, quiet, skeleton

logger = logging.getLogger("milepost.weights")

MOST_MORE = 4
ALLOWANCE = 1 << 28
"""Elements of tables that a module makes itself, such as masks of all positions; 1 GiB in float32."""


def load_module(weights: CheckpointWeights, dtype: str) -> PreTrainedModel:
    """A module on the CPU with the checkpoint's weights, in eval mode, without gradients.

    Args:
        dtype: `auto` (the config's dtype, else that of the first tensor) or a torch dtype's name. Parts that
            a model keeps in float32 stay so.

    Raises:
        CheckpointError: the weights do not fit the config.
    """
    _check_against_config(weights)
    module, told = _from_pretrained(weights, dtype)
    if told["missing_keys"]:
        where = weights.file_with(min(told["missing_keys"]))
        raise CheckpointError(
            f"{where} lacks weights that its config calls for: {some(told['missing_keys'])}"
        )
    _check_left_over(weights, module, told["unexpected_keys"])
    if told["mismatched_keys"] or told.get("error_msgs"):
        raise CheckpointError(f"{shown(str(weights.folder))} does not fit its config")
    module.requires_grad_(False)
    module.eval()
    _own_memory(module, weights)
    return module


def _from_pretrained(weights: CheckpointWeights, dtype: str) -> tuple[PreTrainedModel, dict[str, Any]]:
    try:
        with quiet():
            module, told = class_for(weights.config).from_pretrained(
                None,
                config=weights.config,
                state_dict=dict(weights.tensors),
                dtype=dtype,
                output_loading_info=True,
            )
    except Exception as error:  # transformers tells of a misfit by many kinds of exception
        raise CheckpointError(
            f"{shown(str(weights.folder))} does not fit its config: {first_line(error)}"
        ) from error
    return module, told


def _check_left_over(weights: CheckpointWeights, module: PreTrainedModel, names: Iterable[str]) -> None:
    """Refuse tensors without a place in the module that would change what it computes; warn of the others."""
    prefix = f"{module.base_model_prefix}."
    state = module.state_dict()
    known = {*state, *(name.removeprefix(prefix) for name in state)}
    harmful, harmless = judged(names, known, weights.tensors)
    if harmful:
        first = min(harmful)
        raise CheckpointError(
            f"{weights.file_with(first)} has weights that its config does not know: {some(harmful)}",
            f"{shown(first)} {harmful[first]}",
        )
    if harmless:
        where = weights.file_with(min(harmless))
        logger.warning("%s holds more than the language model; left out: %s", where, some(harmless))


def _check_against_config(weights: CheckpointWeights) -> None:
    """Shape and kind of every tensor that the module has under the same name, before any memory is taken.

    A config that promises more than the files hold would else be filled up with random numbers first.
    """
    n_layers = getattr(weights.config, "num_hidden_layers", None)
    if isinstance(n_layers, int) and n_layers > len(weights.tensors):
        where = weights.file_with("")
        raise CheckpointError(f"{where} has {len(weights.tensors)} tensors, its config {n_layers} layers")
    module = skeleton(weights.folder, weights.config)
    expected = named_tensors(module)
    for name, tensor in sorted(weights.tensors.items()):
        own = expected.get(name)
        if own is None:
            continue
        if own.shape != tensor.shape:
            raise _misfit(weights, name, f"has the shape {list(tensor.shape)}, not {list(own.shape)}")
        if own.is_floating_point() != tensor.is_floating_point():
            found = str(tensor.dtype).removeprefix("torch.")
            raise _misfit(weights, name, f"is {found}, which is not a type of weight")
    _check_memory(weights, module)


def _check_memory(weights: CheckpointWeights, module: PreTrainedModel) -> None:
    """Refuse a config whose module has far more elements than the files, tables of positions included."""
    held = sum(tensor.numel() for tensor in weights.tensors.values())
    wanted = sum(tensor.numel() for tensor in (*module.parameters(), *module.buffers()))
    if wanted > MOST_MORE * held + ALLOWANCE:
        where = weights.file_with("")
        raise CheckpointError(
            f"{where} holds {held} weights, which does not fit its config: that is of {wanted}",
            "correct the sizes in config.json",
        )


def _misfit(weights: CheckpointWeights, name: str, what: str) -> CheckpointError:
    return CheckpointError(f"{weights.file_with(name)} does not fit its config: {shown(name)} {what}")


def _own_memory(module: PreTrainedModel, weights: CheckpointWeights) -> None:
    """Part the module from the tensors it was made of, which it may share memory with."""
    given = {tensor.untyped_storage().data_ptr() for tensor in weights.tensors.values()}
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.untyped_storage().data_ptr() in given:
            tensor.data = tensor.data.clone(memory_format=torch.preserve_format)
