"""The LM head on a GPU: hidden states to log-probabilities in large blocks, without a wait of the host.

The logits of a block are read in chunks of the vocabulary, so that there is no float32 copy of all of them.
The results stay on the device until the caller fetches them.

Shapes: R rows, M targets, V vocabulary, C columns of a chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from milepost.engine.memory import BatchLimit

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.body_and_head import SplitModel

    Ints = npt.NDArray[np.int64]

ROWS_PER_BLOCK = 8192
COLUMNS_PER_CHUNK = 8192
LOGITS_PER_BLOCK = 2**29
"""Logits held at a time if they come all at once: 1 GB in half precision."""


class Targets(NamedTuple):
    """M targets, each at one of R rows of hidden states."""

    hidden_RD: torch.Tensor
    row: Ints
    """[M] ascending, on the host."""
    row_M: torch.Tensor
    """The same on the device."""
    token_M: torch.Tensor


class DeviceScores(NamedTuple):
    """Log-probability in nats and greedy flag of M targets."""

    logprob_M: torch.Tensor
    greedy_M: torch.Tensor


def join_targets(parts: list[Targets]) -> Targets:
    """Return the targets of several packs over their concatenated rows."""
    if len(parts) == 1:
        return parts[0]
    first = np.cumsum([0] + [len(part.hidden_RD) for part in parts]).tolist()
    numbered = list(zip(parts, first, strict=False))
    return Targets(
        hidden_RD=torch.cat([part.hidden_RD for part in parts]),
        row=np.concatenate([part.row + at for part, at in numbered]),
        row_M=torch.cat([part.row_M + at for part, at in numbered]),
        token_M=torch.cat([part.token_M for part in parts]),
    )


def score_targets(model: SplitModel, targets: Targets, vocab_size: int) -> DeviceScores:
    """Return log-probabilities (softmax in float32) and whether each target is its row's first argmax."""
    rows_per_block = ROWS_PER_BLOCK
    if not model.has_plain_head:
        rows_per_block = max(1, min(rows_per_block, LOGITS_PER_BLOCK // vocab_size))
    rows = BatchLimit(rows_per_block)
    blocks: list[DeviceScores] = []
    start = 0
    while start < len(targets.hidden_RD):
        block_RD = targets.hidden_RD[start : start + rows.limit]
        low, high = np.searchsorted(targets.row, [start, start + len(block_RD)]).tolist()
        with rows.halving(len(block_RD)):
            row_M, token_M = targets.row_M[low:high] - start, targets.token_M[low:high]
            blocks.append(_score_block(model, block_RD, row_M, token_M))
            start += len(block_RD)
    if not blocks:
        empty = targets.hidden_RD.new_empty(0)
        return DeviceScores(empty.float(), empty.bool())
    return DeviceScores(
        torch.cat([block.logprob_M for block in blocks]), torch.cat([block.greedy_M for block in blocks])
    )


def _score_block(
    model: SplitModel, hidden_RD: torch.Tensor, row_M: torch.Tensor, token_M: torch.Tensor
) -> DeviceScores:
    rows = torch.zeros(len(hidden_RD), device=hidden_RD.device)
    largest_R, total_R = torch.full_like(rows, float("-inf")), rows
    argmax_R = torch.full_like(rows, -1, dtype=torch.int64)
    logit_M = torch.full_like(token_M, float("nan"), dtype=torch.float32)
    for first, chunk_RC in model.logit_chunks(hidden_RD, COLUMNS_PER_CHUNK):
        logits_RC = chunk_RC.float()
        column_M = token_M - first
        here_M = (column_M >= 0) & (column_M < logits_RC.shape[1])
        own_M = logits_RC[row_M, column_M.clamp(0, logits_RC.shape[1] - 1)]
        logit_M = torch.where(here_M, own_M, logit_M)
        top_R, place_R = logits_RC.max(-1)
        argmax_R = torch.where(top_R > largest_R, place_R + first, argmax_R)
        new_R = torch.maximum(largest_R, top_R)
        # If all logits so far are -inf, -inf - -inf would give NaN.
        base_R = torch.where(new_R == float("-inf"), 0.0, new_R)
        scaled_R = total_R * torch.exp(largest_R - base_R)
        total_R = scaled_R + (logits_RC - base_R[:, None]).exp_().sum(-1)
        largest_R = new_R
    log_total_R = largest_R + total_R.log()
    return DeviceScores(logit_M - log_total_R[row_M], argmax_R[row_M] == token_M)
