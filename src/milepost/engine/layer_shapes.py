"""What each attention layer of a model is like, as one tiny forward pass shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from milepost.engine.attention_hook import UnsupportedAttentionError, running

if TYPE_CHECKING:
    from milepost.engine.body_and_head import SplitModel

PROBE_TOKENS = 3


@dataclass(frozen=True, slots=True)
class LayerShape:
    """One attention layer."""

    n_heads: int
    n_key_heads: int
    head_size: int
    value_size: int
    scale: float
    window: int | None
    softcap: float | None
    dtype: torch.dtype

    @property
    def row_bytes(self) -> int:
        """Of one token's keys and values."""
        return self.n_key_heads * (self.head_size + self.value_size) * self.dtype.itemsize


def layer_shapes(model: SplitModel, n_layers: int) -> list[LayerShape]:
    """The attention layers in the order in which they run, each once.

    Raises:
        UnsupportedAttentionError: the model asks its attention for something unknown, or its layers do not
            call it once each, first to last.
    """
    listener = _Listener()
    with running(listener, model.module):
        tokens = torch.ones(1, PROBE_TOKENS, dtype=torch.int64, device=model.device)
        model.hidden(tokens, position_ids=torch.arange(PROBE_TOKENS, device=model.device)[None])
    if listener.layers != list(range(n_layers)):
        raise UnsupportedAttentionError(
            f"its attention was called {len(listener.layers)} times for {n_layers} layers"
            if sorted(listener.layers) != list(range(n_layers))
            else "its layers do not run in order"
        )
    return listener.shapes


@dataclass(slots=True)
class _Listener:
    """Hears what the layers ask and answers nothing."""

    layers: list[int] = field(default_factory=list)
    shapes: list[LayerShape] = field(default_factory=list)

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
        """See `registry.AttentionBackend`."""
        self.layers.append(layer)
        self.shapes.append(
            LayerShape(
                n_heads=query.shape[1],
                n_key_heads=key.shape[1],
                head_size=query.shape[3],
                value_size=value.shape[3],
                scale=scale,
                window=window,
                softcap=softcap,
                dtype=query.dtype,
            )
        )
        return query.new_zeros(1, query.shape[2], query.shape[1], value.shape[3])
