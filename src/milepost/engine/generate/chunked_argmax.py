"""The most likely next token of each row, with the LM head run on one chunk of the vocabulary at a time.

With few rows the head's product is bound by memory: a chunk whose logits stay in the processor's cache takes
two thirds of the time, the search for the largest logit included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from milepost.engine.body_and_head import SplitModel

COLUMNS_PER_PART = 3072
"""Twice that of `engine.lm_head`, as rows are few here and each call of the model's head costs more."""


def chunked_argmax(model: SplitModel, hidden_BD: torch.Tensor, n_columns: int) -> torch.Tensor:
    """Return token ids [B], the first of equal logits; -1 if the model gave NaN.

    Args:
        hidden_BD: hidden states of `SplitModel.hidden` at the last place of each row.
        n_columns: `SplitModel.n_columns`.
    """
    firsts = range(0, n_columns, COLUMNS_PER_PART)
    chunks = [
        model.logits(hidden_BD, slice(first, min(first + COLUMNS_PER_PART, n_columns))) for first in firsts
    ]
    # Only the chunk that has the largest logit is searched for its place, as that search is slow.
    largest_B, chunk_B = torch.stack([logits_BC.amax(-1) for logits_BC in chunks]).max(0)
    token_B = torch.empty_like(chunk_B)
    for chunk in chunk_B.unique().tolist():
        rows = (chunk_B == chunk).nonzero()[:, 0]
        token_B[rows] = chunks[chunk][rows].argmax(-1) + firsts[chunk]
    return token_B.masked_fill_(largest_B.isnan(), -1)
