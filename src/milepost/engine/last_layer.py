"""Runs the last layer of a pack only at the rows whose logits are needed.

For the other rows only the last layer's keys and values are needed. So the layer runs twice: over all rows up
to its attention, which takes keys and values and stops it, then over the needed rows alone, whose attention
sees the keys that were taken. Everything else in a layer works row by row in the models that the packed
engine can run; the trial verifies that as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch

from milepost.engine.attention_call import UnsupportedAttentionError
from milepost.engine.body_and_head import forward_replaced

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class KeysCollectedError(Exception):
    """The attention has taken the last layer's keys and values; the rest of the pass is not needed."""


class RowAttention(Protocol):
    """Attention that can stop after it has taken keys, and then compute some rows only."""

    keys_only: bool
    rows: npt.NDArray[np.int64] | None


@contextmanager
def restricted_to_rows(rows: torch.Tensor, layer: torch.nn.Module, attention: RowAttention) -> Iterator[None]:
    """Let `layer` compute its hidden states [1, T, D] at `rows` [R] only, and return 0 elsewhere."""
    forward = layer.forward

    def narrow(hidden_1TD: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
        n_tokens = hidden_1TD.shape[1]
        attention.keys_only = True
        try:
            forward(hidden_1TD, *others, **named)
        except KeysCollectedError:
            pass
        else:
            raise UnsupportedAttentionError("the model's last layer has no attention")
        finally:
            attention.keys_only = False
        attention.rows = rows.cpu().numpy()
        hidden_1RD = forward(
            hidden_1TD[:, rows],
            *(_at(rows, n_tokens, value) for value in others),
            **{name: _at(rows, n_tokens, value) for name, value in named.items()},
        )
        # Some models give their output the shape of their input.
        return torch.zeros_like(hidden_1TD).index_copy_(1, rows, hidden_1RD)

    with forward_replaced(layer, narrow):
        yield


def _at(rows: torch.Tensor, n_tokens: int, value: Any) -> Any:
    """Return an argument of the layer at the rows: positions, and values computed from them."""
    if isinstance(value, torch.Tensor) and value.ndim > 1 and value.shape[1] == n_tokens:
        return value[:, rows]
    if isinstance(value, torch.Tensor) and value.shape == (n_tokens,):
        return value[rows]
    if isinstance(value, tuple | list):
        return type(value)(_at(rows, n_tokens, item) for item in value)
    return value
