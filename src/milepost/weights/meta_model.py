"""Create a config's module on the meta device, to know its tensors and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils import logging as transformers_logging

from milepost.errors import CheckpointError
from milepost.sources.names import first_line, shown
from milepost.weights.process_state import PROCESS_STATE


def expected_tensors(folder: Path, config: PretrainedConfig) -> dict[str, torch.Tensor]:
    """Return the tensors of a module of this config, with or without the body's prefix, without allocating
    memory.

    Raises:
        CheckpointError: naming the folder: the config makes no model.
    """
    return named_tensors(skeleton(folder, config))


def named_tensors(module: PreTrainedModel) -> dict[str, torch.Tensor]:
    """A module's state, each tensor by its name with and without the body's prefix."""
    state: dict[str, torch.Tensor] = module.state_dict()
    prefix = f"{module.base_model_prefix}."
    return state | {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def skeleton(folder: Path, config: PretrainedConfig) -> PreTrainedModel:
    """The module of this config, made without memory for its weights. Raises as `expected_tensors`."""
    try:
        with quiet(), torch.device("meta"):
            return class_for(config)(config)
    except Exception as error:  # each architecture fails on a config of wrong values in its own way
        raise CheckpointError(
            f"{shown(str(folder))} has a config that makes no model: {first_line(error)}"
        ) from error


def class_for(config: PretrainedConfig) -> type[PreTrainedModel]:
    """The class that AutoModelForCausalLM picks."""
    known = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    classes = known if isinstance(known, (list, tuple)) else [known]
    named = [one for one in classes if one.__name__ in (config.architectures or [])]
    found: type[PreTrainedModel] = (named or list(classes))[0]
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Create a module without transformers' progress bar and table of missing weights; we raise errors
    instead.

    One thread at a time, since both switches, and most of what is done here, hold for the whole process.
    """
    with PROCESS_STATE:
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
