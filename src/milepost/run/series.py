"""What the checkpoints of one series share: tokenizer, context length, shape. Others are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from milepost.types import Checkpoint

SHAPE = (
    "architectures",
    "model_type",
    "vocab_size",
    "hidden_size",
    "n_embd",
    "intermediate_size",
    "n_inner",
    "num_hidden_layers",
    "n_layer",
    "num_attention_heads",
    "n_head",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "n_positions",
)
"""Config entries that must agree within a series, for its checkpoints to be steps of one run."""


@dataclass(frozen=True, slots=True)
class PreparedSeries:
    """A series whose checkpoints can be asked the same questions by the same module."""

    name: str
    checkpoints: tuple[Checkpoint, ...]
    refused: tuple[tuple[Checkpoint, str], ...]
    tokenizer: Any
    tokenizer_id: str
    max_length: int
    dtype: str
    """What `--dtype auto` means for it: the dtype its config names, else `auto`."""

    @property
    def key(self) -> tuple[str, int]:
        """Series with the same key are asked with the same token ids."""
        return self.tokenizer_id, self.max_length
