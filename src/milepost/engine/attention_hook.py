"""How the packed engine gets between a model and its attention, for any model that transformers lets us.

transformers looks an attention function up by the name in the model's config. Ours is registered under one
name and hands every call to the backend that is running a pack at that moment. transformers builds no mask
for a name it has no mask function for, so that the function gets the raw queries, keys and values.

One backend at a time in a process: workers for several devices are processes of their own.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from transformers import AttentionInterface

NAME = "milepost_packed"

HARMLESS = {
    "cache_position", "dropout", "output_attentions", "output_hidden_states", "output_router_logits",
    "position_embeddings", "position_ids", "return_dict", "use_cache",
}  # fmt: skip
"""Arguments that say nothing about who may look at whom, or only what the pack says already."""


KeysAndValues = tuple[torch.Tensor, torch.Tensor]
"""Of a layer, for the rows above a pack; the layout is its runner's own."""


class UnsupportedAttentionError(Exception):
    """The model asks its attention for something that the packed engine does not know."""


class AttentionBackend(Protocol):
    """Attention among the tokens of one pack and those above it."""

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> torch.Tensor:
        """[1, H, T, D] queries and [1, Hkv, T, D] keys and values, positions applied -> [1, T, H, D].

        `layer` numbers the attention layers from 0.
        """
        ...


_running: AttentionBackend | None = None
_configs: weakref.WeakKeyDictionary[torch.nn.Module, list[Any]] = weakref.WeakKeyDictionary()


@contextmanager
def running(backend: AttentionBackend, module: torch.nn.Module) -> Iterator[None]:
    """Within it, every attention of `module` goes to `backend`."""
    global _running
    with attention_set_to(module, NAME):
        _running = backend
        try:
            yield
        finally:
            _running = None


@contextmanager
def attention_set_to(module: torch.nn.Module, name: str) -> Iterator[None]:
    """Within it, transformers calls the attention function of that name for all of `module`."""
    configs = _configs_of(module)
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation_internal = name
        yield
    finally:
        for config, own in zip(configs, before, strict=True):
            config._attn_implementation_internal = own


def _configs_of(module: torch.nn.Module) -> list[Any]:
    """Each config that a part of the module reads, found once: a large model has thousands of parts."""
    if module not in _configs:
        found = {id(part.config): part.config for part in module.modules() if hasattr(part, "config")}
        _configs[module] = list(found.values())
    return _configs[module]


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """The function that transformers calls; shapes as in `AttentionBackend.attend`.

    Raises:
        UnsupportedAttentionError: an argument that could change the result and is not known here.
    """
    if _running is None:
        raise RuntimeError(f"attention `{NAME}` was called outside of a pack")
    unknown = sorted(
        name
        for name, given in others.items()
        if name not in HARMLESS and given is not None and given is not False
    )
    if unknown:
        raise UnsupportedAttentionError(f"its attention uses {', '.join(unknown)}")
    if attention_mask is not None:
        raise UnsupportedAttentionError("it builds an attention mask of its own")
    if is_causal is False or not getattr(module, "is_causal", True):
        raise UnsupportedAttentionError("its attention is not causal")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer = getattr(module, "layer_idx", None)
    if layer is None:
        raise UnsupportedAttentionError("its attention layers have no number")
    output = _running.attend(layer, query, key, value, scale=scale, window=sliding_window, softcap=softcap)
    return output, None


AttentionInterface.register(NAME, packed_attention)
