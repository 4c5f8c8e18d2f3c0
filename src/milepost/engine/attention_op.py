"""Attention as one opaque operation, so that a model's layers are compiled around it.

The operation has no layer number and no mask among its arguments: whoever runs a pack answers it, layer by
layer, in the order in which the model's layers call. So all layers of a model are one graph for
torch.compile, whatever the attention does inside, and that graph stays good for every pack.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from transformers import AttentionInterface

from milepost.engine.attention_hook import attention_set_to

NAME = "milepost_opaque"
NO_WINDOW, NO_SOFTCAP = 0, 0.0


class PackAttention(Protocol):
    """Whoever runs a pack."""

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> torch.Tensor:
        """[1, H, T, D] queries and [1, N, T, D] keys and values of the next layer -> [1, T, H, D]."""
        ...


_answering: PackAttention | None = None
_library = torch.library.Library("milepost", "DEF")
_library.define(
    "attend(Tensor query, Tensor key, Tensor value, float scale, int window, float softcap) -> Tensor"
)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int, softcap: float
) -> torch.Tensor:
    if _answering is None:
        raise RuntimeError(f"attention `{NAME}` was called outside of a pack")
    return _answering.attend(query, key, value, scale, window or None, softcap or None)


_library.impl("attend", _attend, "CompositeExplicitAutograd")


def _shape(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int, softcap: float
) -> torch.Tensor:
    return query.new_empty(query.shape[0], query.shape[2], query.shape[1], value.shape[3])


torch.library.register_fake("milepost::attend", _shape)


def opaque_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The function that transformers calls; what it may be asked was found out before (`layer_shapes`)."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    output = torch.ops.milepost.attend(
        query, key, value, float(scale), sliding_window or NO_WINDOW, softcap or NO_SOFTCAP
    )
    return output, None


AttentionInterface.register(NAME, opaque_attention)


@contextmanager
def using_pack_attention(answering: PackAttention, module: torch.nn.Module) -> Iterator[None]:
    """Within it, every attention of `module` is the opaque operation, and `answering` answers it."""
    global _answering
    with attention_set_to(module, NAME):
        _answering = answering
        try:
            yield
        finally:
            _answering = None
