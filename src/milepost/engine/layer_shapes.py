"""The shape of each attention layer of a model, from one tiny forward pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from milepost.engine.attention_call import AttentionCall, UnsupportedAttentionError, check_layers
from milepost.engine.attention_hook import using_backend

if TYPE_CHECKING:
    from milepost.engine.body_and_head import SplitModel

PROBE_TOKENS = 3


@dataclass(frozen=True, slots=True)
class LayerShape:
    """The shape of one attention layer."""

    n_heads: int
    n_key_heads: int
    head_size: int
    value_size: int
    scale: float
    window: int | None
    softcap: float | None
    dtype: torch.dtype

    @classmethod
    def of(cls, call: AttentionCall) -> LayerShape:
        """Return the shape of the layer that made a call."""
        return cls(
            n_heads=call.query.shape[1],
            n_key_heads=call.key.shape[1],
            head_size=call.query.shape[3],
            value_size=call.value.shape[3],
            scale=call.scale,
            window=call.window,
            softcap=call.softcap,
            dtype=call.query.dtype,
        )

    @property
    def row_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        return self.n_key_heads * (self.head_size + self.value_size) * self.dtype.itemsize


def layer_shapes(model: SplitModel, n_layers: int) -> list[LayerShape]:
    """Return the attention layers in the order in which they run.

    Raises:
        UnsupportedAttentionError: the model asks its attention for something unsupported, or its layers do
            not call it once each, first to last.
    """
    recorder = _Recorder()
    with using_backend(recorder, model.module):
        tokens = torch.ones(1, PROBE_TOKENS, dtype=torch.int64, device=model.device)
        model.hidden(tokens, position_ids=torch.arange(PROBE_TOKENS, device=model.device)[None])
    check_layers(recorder.layers, n_layers)
    if recorder.layers != list(range(n_layers)):
        raise UnsupportedAttentionError("the model's layers do not run in order")
    return recorder.shapes


@dataclass(slots=True)
class _Recorder:
    """A backend that records the shapes of calls and returns zeros."""

    layers: list[int] = field(default_factory=list)
    shapes: list[LayerShape] = field(default_factory=list)

    def attend(self, layer: int, call: AttentionCall) -> torch.Tensor:
        """See `AttentionBackend.attend`."""
        self.layers.append(layer)
        self.shapes.append(LayerShape.of(call))
        query, value = call.query, call.value
        return query.new_zeros(1, query.shape[2], query.shape[1], value.shape[3])
