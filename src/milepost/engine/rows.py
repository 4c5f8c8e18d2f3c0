"""From hidden states at the needed positions to log-probabilities of targets, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.split import SplitModel

LOGITS_PER_BLOCK = 512 * 50_304
"""Logits held at a time: 100 MB in float32."""


def score_rows(
    model: SplitModel,
    hidden_RD: torch.Tensor,
    target_row: npt.NDArray[np.int64],
    target_token: npt.NDArray[np.int64],
    vocab_size: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Log-probability and greedy flag of M targets, each at one of R rows.

    Args:
        hidden_RD: what `SplitModel.hidden` gave at the rows.
        target_row: [M] row of each target, in any order.
        target_token: [M] its token id.
        vocab_size: only sets how many rows a block has.

    Returns:
        [M] natural logarithms (the softmax taken in float32) and [M] whether the token is the row's argmax.
    """
    logprob = np.empty(len(target_row), dtype=np.float32)
    greedy = np.empty(len(target_row), dtype=np.bool_)
    order = np.argsort(target_row, kind="stable")
    rows_per_block = max(1, LOGITS_PER_BLOCK // vocab_size)
    for start in range(0, len(hidden_RD), rows_per_block):
        block_RD = hidden_RD[start : start + rows_per_block]
        low, high = np.searchsorted(target_row, [start, start + len(block_RD)], sorter=order)
        chosen = order[low:high]
        row_M = torch.from_numpy(target_row[chosen] - start).to(block_RD.device)
        token_M = torch.from_numpy(target_token[chosen]).to(block_RD.device)
        logits_RV = model.logits(block_RD).float()
        log_total_R = logits_RV.logsumexp(-1)
        first_choice_R = logits_RV.argmax(-1)
        logprob[chosen] = (logits_RV[row_M, token_M] - log_total_R[row_M]).cpu().numpy()
        greedy[chosen] = (first_choice_R[row_M] == token_M).cpu().numpy()
    return logprob, greedy
