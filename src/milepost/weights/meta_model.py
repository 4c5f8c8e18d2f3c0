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
from milepost.text.messages import first_line, shown
from milepost.weights.process_state import PROCESS_STATE


def expected_tensors(folder: Path, config: PretrainedConfig) -> dict[str, torch.Tensor]:
    """Return the tensors of a module of this config, with and without the body's prefix, on the meta device.

    Raises:
        CheckpointError: the config is not valid.
    """
    return named_tensors(meta_module(folder, config))


def named_tensors(module: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return a module's state by names with and without the body's prefix."""
    state: dict[str, torch.Tensor] = module.state_dict()
    prefix = f"{module.base_model_prefix}."
    return state | {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def meta_module(folder: Path, config: PretrainedConfig) -> PreTrainedModel:
    """Return the module of this config on the meta device; raises as `expected_tensors`."""
    try:
        with quiet(), torch.device("meta"):
            return class_for(config)(config)
    except Exception as error:  # each architecture raises other errors for wrong values
        raise CheckpointError(f"{shown(folder)} has an invalid config: {first_line(error)}") from error


def class_for(config: PretrainedConfig) -> type[PreTrainedModel]:
    """Return the class that AutoModelForCausalLM picks."""
    known = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    classes = known if isinstance(known, (list, tuple)) else [known]
    named = [kind for kind in classes if kind.__name__ in (config.architectures or [])]
    found: type[PreTrainedModel] = (named or list(classes))[0]
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Create a module without transformers' progress bar and table of missing weights; we raise errors.

    For one thread at a time, because both switches, and most work inside, change the whole process.
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
