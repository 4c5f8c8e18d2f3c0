"""Models whose positions depend on the longest sequence of a batch, and the state that they keep of it.

transformers' dynamic rotary embeddings read the largest position of a call: `longrope` (Phi-3) uses its long
factors for all rows once it passes `original_max_position_embeddings`; `dynamic` (NTK) computes new
frequencies for each greatest length so far, and keeps them for later calls. So the score of a sequence
depends on its batch and on earlier batches. Source: transformers/modeling_rope_utils.py (5.23).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from milepost.engine.model_config import text_config

ORIGINAL = "original_inv_freq"
BOUNDARY_WORDS = ("position", "window", "chunk", "block", "seq_len", "length")
"""A number in a config whose name has one of these words may be a length at which a layer changes."""


@dataclass(frozen=True, slots=True)
class LengthSwitch:
    """A rotary embedding that changes with the longest sequence of a call."""

    tokens: int
    """Up to so many tokens, a sequence's positions do not depend on its batch."""
    kind: str
    """`longrope` or `dynamic`, from the config."""


def length_switch(module: torch.nn.Module) -> LengthSwitch | None:
    """Return the first length at which a model's rotary embedding changes, or None if it never does."""
    if getattr(module, "config", None) is None:
        return None
    config = text_config(module)
    found = []
    for rope in _rope_settings(getattr(config, "rope_parameters", None)):
        kind = str(rope.get("rope_type") or rope.get("type") or "")
        if kind == "longrope":
            limit = rope.get("original_max_position_embeddings") or getattr(
                config, "original_max_position_embeddings", None
            )
        elif "dynamic" in kind:
            limit = getattr(config, "max_position_embeddings", None)
        else:
            continue
        found.append(LengthSwitch(int(limit or 0), kind))
    return min(found, key=lambda switch: switch.tokens, default=None)


def boundaries(module: torch.nn.Module) -> list[int]:
    """Return the lengths in tokens at which any layer of a model may change, ascending."""
    if getattr(module, "config", None) is None:
        return []
    return sorted(set(_lengths_in(text_config(module).to_dict())))


def reset_positions(module: torch.nn.Module) -> None:
    """Reset the lengths that a model has seen, so that its next call computes the same as its first one."""
    for part in module.modules():
        for name in [name for name in (*vars(part), *part._buffers) if name.endswith(ORIGINAL)]:
            _restore(part, name.removesuffix(ORIGINAL))


def _restore(part: Any, prefix: str) -> None:
    original, now = getattr(part, prefix + ORIGINAL), getattr(part, f"{prefix}inv_freq", None)
    kept = f"{prefix}max_seq_len_cached" if hasattr(part, f"{prefix}max_seq_len_cached") else None
    first = getattr(part, "original_max_seq_len", None)
    if now is None or kept is None or first is None or getattr(part, kept) == first:
        return
    part.register_buffer(f"{prefix}inv_freq", original.to(now.device, copy=True), persistent=False)
    setattr(part, kept, first)


def _rope_settings(settings: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the settings of one rotary embedding, or of several by layer type."""
    if not isinstance(settings, Mapping):
        return
    if "rope_type" in settings or "type" in settings:
        yield settings
    for inner in settings.values():
        yield from _rope_settings(inner)


def _lengths_in(settings: Mapping[str, Any]) -> Iterator[int]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _lengths_in(value)
        elif isinstance(value, int) and value > 1 and any(word in name for word in BOUNDARY_WORDS):
            yield value
