"""Replaces the attention of any model that transformers lets us, by a backend that runs one forward pass.

transformers looks an attention function up by the name in the model's config. Ours is registered under one
name and passes every call to the backend that is active at that moment. For a name without a mask function
transformers builds no mask, so the function gets the plain queries, keys and values.

A process has one active backend at a time: workers for several devices are processes of their own.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface

from milepost.engine.attention_call import AttentionBackend, AttentionCall, UnsupportedAttentionError
from milepost.engine.half_precision import as_they_are

NAME = "milepost_packed"

HARMLESS = {
    "cache_position", "dropout", "output_attentions", "output_hidden_states", "output_router_logits",
    "position_embeddings", "position_ids", "return_dict", "use_cache",
}  # fmt: skip
"""Arguments that do not change which token sees which, or that repeat what the pack says."""

_backend: AttentionBackend | None = None
_configs: weakref.WeakKeyDictionary[torch.nn.Module, list[Any]] = weakref.WeakKeyDictionary()


@contextmanager
def using_backend(backend: AttentionBackend, module: torch.nn.Module) -> Iterator[None]:
    """Send every attention call of `module` to `backend` while the context is open."""
    global _backend
    with using_attention(NAME, module):
        _backend = backend
        try:
            yield
        finally:
            _backend = None


@contextmanager
def using_attention(name: str, module: torch.nn.Module) -> Iterator[None]:
    """Let all of `module` call the attention function of that name while the context is open."""
    configs = _configs_of(module)
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation_internal = name
        yield
    finally:
        for config, implementation in zip(configs, before, strict=True):
            config._attn_implementation_internal = implementation


def _configs_of(module: torch.nn.Module) -> list[Any]:
    """Return every config that a part of the module reads; found once, as a large model has many parts."""
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
    """Compute one attention call of transformers with the active backend; shapes as in `AttentionCall`.

    Raises:
        UnsupportedAttentionError: an argument could change the result and is not supported.
    """
    if _backend is None:
        raise RuntimeError(f"attention `{NAME}` was called outside of a pack")
    unknown = sorted(
        name
        for name, given in others.items()
        if name not in HARMLESS and given is not None and given is not False
    )
    if unknown:
        raise UnsupportedAttentionError(f"the model's attention uses {', '.join(unknown)}")
    if attention_mask is not None:
        raise UnsupportedAttentionError("the model builds its own attention mask")
    if is_causal is False or not getattr(module, "is_causal", True):
        raise UnsupportedAttentionError("the model's attention is not causal")
    layer = getattr(module, "layer_idx", None)
    if layer is None:
        raise UnsupportedAttentionError("the model's attention layers are not numbered")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    call = AttentionCall(query, key, value, scale, sliding_window, softcap)
    with as_they_are(call):
        return _backend.attend(layer, call), None


AttentionInterface.register(NAME, packed_attention)
