"""The likeliest next token of each row, with the head worked off a part of the vocabulary at a time.

With few rows a head's product is bound by memory: a part whose logits stay in the processor's cache takes two
thirds of the time, the search for the largest among them included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from milepost.engine.body_and_head import SplitModel

COLUMNS_PER_PART = 3072
"""Twice those of `engine.lm_head`, as rows are few here and the calls of the model's head count for more."""


def chunked_argmax(model: SplitModel, hidden_BD: torch.Tensor, n_columns: int) -> torch.Tensor:
    """[B] token ids, the first one where several are equal; -1 where the model gave NaN.

    Args:
        hidden_BD: what `SplitModel.hidden` gave at the last place of each row.
        n_columns: `SplitModel.n_columns`.
    """
    firsts = range(0, n_columns, COLUMNS_PER_PART)
    parts = [
        model.logits(hidden_BD, slice(first, min(first + COLUMNS_PER_PART, n_columns))) for first in firsts
    ]
    # Only the part that has the largest logit is searched for its place, as that search is a slow one.
    largest_B, part_B = torch.stack([logits_BC.amax(-1) for logits_BC in parts]).max(0)
    found_B = torch.empty_like(part_B)
    for part in part_B.unique().tolist():
        rows = (part_B == part).nonzero()[:, 0]
        found_B[rows] = parts[part][rows].argmax(-1) + firsts[part]
    return found_B.masked_fill_(largest_B.isnan(), -1)
