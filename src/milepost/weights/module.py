"""Create a transformers module with a checkpoint's weights, exactly as `from_pretrained` does.

transformers renames, splits, fuses and ties the tensors; here only errors are found: a missing tensor, a
tensor that is left over, or another shape never results in random weights.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch
from transformers import PreTrainedModel

from milepost.errors import CheckpointError
from milepost.text.language import Phrase
from milepost.text.messages import first_line, shown, some
from milepost.weights.checkpoint_weights import CheckpointWeights
from milepost.weights.extra_tensors import sort_left_over
from milepost.weights.meta_model import class_for, meta_module, named_tensors, quiet

logger = logging.getLogger("milepost.weights")

MOST_MORE = 4
ALLOWANCE = 1 << 28
"""Elements of tables that a module computes itself, such as masks of all positions; 1 GiB in float32."""


def load_module(weights: CheckpointWeights, dtype: str) -> PreTrainedModel:
    """Return a module on the CPU with the checkpoint's weights, in eval mode, without gradients.

    Args:
        dtype: `auto` (the config's dtype, or that of the first tensor) or a torch dtype's name. Parts that a
            model keeps in float32 stay in float32.

    Raises:
        CheckpointError: the weights do not fit the config.
    """
    _check_against_config(weights)
    module, info = _from_pretrained(weights, dtype)
    if info["missing_keys"]:
        where = weights.file_with(min(info["missing_keys"]))
        raise CheckpointError(
            Phrase(
                "{where} lacks weights that its config needs: {missing_keys}",
                where=where,
                missing_keys=some(info["missing_keys"]),
            )
        )
    _check_left_over(weights, module, info["unexpected_keys"])
    if info["mismatched_keys"] or info.get("error_msgs"):
        raise CheckpointError(Phrase("{folder} does not fit its config", folder=shown(weights.folder)))
    module.requires_grad_(False)
    module.eval()
    _copy_shared(module, weights)
    return module


def _from_pretrained(weights: CheckpointWeights, dtype: str) -> tuple[PreTrainedModel, dict[str, Any]]:
    try:
        with quiet():
            module, info = class_for(weights.config).from_pretrained(
                None,
                config=weights.config,
                state_dict=dict(weights.tensors),
                dtype=dtype,
                output_loading_info=True,
            )
    except Exception as error:  # transformers raises many kinds of exception for a misfit
        raise CheckpointError(
            Phrase(
                "{folder} does not fit its config: {error}",
                folder=shown(weights.folder),
                error=first_line(error),
            )
        ) from error
    return module, info


def _check_left_over(weights: CheckpointWeights, module: PreTrainedModel, names: Iterable[str]) -> None:
    """Refuse left-over tensors that would change the computation, and warn about the others."""
    prefix = f"{module.base_model_prefix}."
    state = module.state_dict()
    known = {*state, *(name.removeprefix(prefix) for name in state)}
    harmful, harmless = sort_left_over(names, known, weights.tensors)
    if harmful:
        first = min(harmful)
        raise CheckpointError(
            Phrase(
                "{file} has weights that its config does not know: {harmful}",
                file=weights.file_with(first),
                harmful=some(harmful),
            ),
            Phrase("{first} {harmful}", first=shown(first), harmful=harmful[first]),
        )
    if harmless:
        where = weights.file_with(min(harmless))
        logger.warning("%s has more than the language model; left out: %s", where, some(harmless))


def _check_against_config(weights: CheckpointWeights) -> None:
    """Check shape and kind of every tensor before memory is allocated.

    transformers would first fill a config's missing tensors with random numbers.
    """
    n_layers = getattr(weights.config, "num_hidden_layers", None)
    if isinstance(n_layers, int) and n_layers > len(weights.tensors):
        where = weights.file_with("")
        raise CheckpointError(
            Phrase(
                "{where} has {tensors} tensors, its config {n_layers} layers",
                where=where,
                tensors=len(weights.tensors),
                n_layers=n_layers,
            )
        )
    module = meta_module(weights.folder, weights.config)
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
    """Refuse a config whose module has far more elements than the files, tables included."""
    held = sum(tensor.numel() for tensor in weights.tensors.values())
    wanted = sum(tensor.numel() for tensor in (*module.parameters(), *module.buffers()))
    if wanted > MOST_MORE * held + ALLOWANCE:
        where = weights.file_with("")
        raise CheckpointError(
            Phrase(
                "{where} has {held} weights, which does not fit its config of {wanted}",
                where=where,
                held=held,
                wanted=wanted,
            ),
            "correct the sizes in config.json",
        )


def _misfit(weights: CheckpointWeights, name: str, what: str) -> CheckpointError:
    return CheckpointError(
        Phrase(
            "{file} does not fit its config: {name} {what}",
            file=weights.file_with(name),
            name=shown(name),
            what=what,
        )
    )


def _copy_shared(module: PreTrainedModel, weights: CheckpointWeights) -> None:
    """Copy tensors of the module that share memory with the checkpoint's."""
    shared = {tensor.untyped_storage().data_ptr() for tensor in weights.tensors.values()}
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.untyped_storage().data_ptr() in shared:
            tensor.data = tensor.data.clone(memory_format=torch.preserve_format)
