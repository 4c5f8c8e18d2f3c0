"""Values that engines read from a model's config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def text_config(module: torch.nn.Module) -> Any:
    """Return the language model's config, also if the config holds several."""
    config: Any = module.config
    return config.get_text_config(decoder=True)


def layer_count(module: torch.nn.Module) -> int:
    """Return the number of layers; 0 if the config does not say."""
    return getattr(text_config(module), "num_hidden_layers", 0)
