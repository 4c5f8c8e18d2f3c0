"""Attention as one opaque torch operation, so that torch.compile compiles a model's layers around it.

The operation has neither layer number nor mask among its arguments: the runner of a pack computes the calls
in the order in which the model's layers make them. So all layers of a model are one graph for torch.compile,
whatever the attention does inside, and that graph stays valid for every pack. Operations of torch take plain
arguments; the `AttentionCall` is made inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from transformers import AttentionInterface

from milepost.engine.attention_call import AttentionCall
from milepost.engine.attention_hook import using_attention

NAME = "milepost_opaque"
NO_WINDOW, NO_SOFTCAP = 0, 0.0


class PackAttention(Protocol):
    """The attention of a pack, layer after layer."""

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """Return the output [1, T, H, D] of the next layer's attention."""
        ...


_attention: PackAttention | None = None
_library = torch.library.Library("milepost", "DEF")
_library.define(
    "attend(Tensor query, Tensor key, Tensor value, float scale, int window, float softcap) -> Tensor"
)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int, softcap: float
) -> torch.Tensor:
    if _attention is None:
        raise RuntimeError(f"attention `{NAME}` was called outside of a pack")
    return _attention.attend(AttentionCall(query, key, value, scale, window or None, softcap or None))


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
    """Pass one attention call of transformers to the operation; `layer_shapes` has checked its arguments."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    output = torch.ops.milepost.attend(
        query, key, value, float(scale), sliding_window or NO_WINDOW, softcap or NO_SOFTCAP
    )
    return output, None


AttentionInterface.register(NAME, opaque_attention)


@contextmanager
def using_pack_attention(attention: PackAttention, module: torch.nn.Module) -> Iterator[None]:
    """Let `attention` compute every attention call of `module` while the context is open."""
    global _attention
    with using_attention(NAME, module):
        _attention = attention
        try:
            yield
        finally:
            _attention = None
