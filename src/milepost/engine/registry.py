"""How the packed engine gets between a model and its attention, for any model that transformers lets us.

transformers looks an attention function up by the name in the model's config. Ours is registered under one
name and hands every call to the backend that is running a pack at that moment. transformers builds no mask
for a name it has no mask function for, so that the function gets the raw queries, keys and values.

One backend at a time in a process: workers for several devices are processes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from transformers import AttentionInterface

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from milepost.plan.packs import Pack

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


class PackRunner(Protocol):
    """Runs one pack after the other through a model."""

    layers: list[int]
    """The layers whose attention was called in the last run, in order."""

    def run(
        self, pack: Pack, above: dict[int, KeysAndValues], rows: npt.NDArray[np.int64]
    ) -> tuple[torch.Tensor, dict[int, KeysAndValues]]:
        """One forward pass.

        Args:
            pack: what to run.
            above: keys and values of its context by layer, as the run of the pack before returned them.
            rows: [R] which of its rows are wanted, ascending.

        Returns:
            hidden states [R, D] of those, and what the pack that starts where it stops needs.
        """
        ...


_running: AttentionBackend | None = None


@contextmanager
def running(backend: AttentionBackend, module: torch.nn.Module) -> Iterator[None]:
    """Within it, every attention of `module` goes to `backend`."""
    global _running
    configs: dict[int, Any] = {
        id(part.config): part.config for part in module.modules() if hasattr(part, "config")
    }
    before = {number: config._attn_implementation for number, config in configs.items()}
    _running = backend
    try:
        for config in configs.values():
            config._attn_implementation_internal = NAME
        yield
    finally:
        for number, config in configs.items():
            config._attn_implementation_internal = before[number]
        _running = None


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
