"""From hidden states to log-probabilities of targets on a GPU: large blocks, and the host never waits.

The logits of a block are looked at in chunks of the vocabulary, so that no float32 copy of all of them is
made; what was found stays on the device until somebody fetches it.

Shapes: R rows, M targets, V vocabulary, C columns of a chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from milepost.engine.memory import is_out_of_memory

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.body_and_head import SplitModel

    Ints = npt.NDArray[np.int64]

ROWS_PER_BLOCK = 8192
COLUMNS_PER_CHUNK = 8192
LOGITS_PER_BLOCK = 2**29
"""Logits held at a time where they come all at once: 1 GB in half precision."""


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
    """The rows of several packs, one after the other."""
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
    """Log-probability (the softmax taken in float32) and whether the token is the first argmax of its row."""
    rows_per_block = ROWS_PER_BLOCK
    if not model.has_plain_head:
        rows_per_block = max(1, min(rows_per_block, LOGITS_PER_BLOCK // vocab_size))
    found: list[DeviceScores] = []
    start = 0
    while start < len(targets.hidden_RD):
        block_RD = targets.hidden_RD[start : start + rows_per_block]
        low, high = np.searchsorted(targets.row, [start, start + len(block_RD)]).tolist()
        try:
            found.append(
                _score_block(model, block_RD, targets.row_M[low:high] - start, targets.token_M[low:high])
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(block_RD) == 1:
                raise
            rows_per_block = (len(block_RD) + 1) // 2
            continue
        start += len(block_RD)
    if not found:
        none = targets.hidden_RD.new_empty(0)
        return DeviceScores(none.float(), none.bool())
    return DeviceScores(
        torch.cat([one.logprob_M for one in found]), torch.cat([one.greedy_M for one in found])
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
        # Where all logits so far are -inf, subtracting them from themselves would give NaN.
        base_R = torch.where(new_R == float("-inf"), 0.0, new_R)
        scaled_R = total_R * torch.exp(largest_R - base_R)
        total_R = scaled_R + (logits_RC - base_R[:, None]).exp_().sum(-1)
        largest_R = new_R
    log_total_R = largest_R + total_R.log()
    return DeviceScores(logit_M - log_total_R[row_M], argmax_R[row_M] == token_M)
