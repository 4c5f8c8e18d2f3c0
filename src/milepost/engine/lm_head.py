"""The LM head on a CPU: hidden states at the needed positions to log-probabilities, in bounded memory.

The softmax is taken in float32 over the vocabulary in chunks (online log-sum-exp), each small enough to stay
in the processor's cache while it is exponentiated and summed: at 50,000 tokens a row of logits is 200 kB, and
reading it from memory again for each step costs as much as the matrix product of a small model's head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.lm_head_gpu import Targets, score_targets
from milepost.engine.memory import BatchLimit

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.body_and_head import SplitModel

    Ints = npt.NDArray[np.int64]
    TargetScores = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]

ROWS_PER_BLOCK = 1024
COLUMNS_PER_CHUNK = 1536
LOGITS_PER_BLOCK = 512 * 50_304
"""Logits held at a time if the vocabulary is not cut: 100 MB in float32."""
LOWEST = -3e38
"""The largest logit before any was seen; finite, so that a chunk of -inf gives no NaN."""


def score_rows(
    model: SplitModel,
    hidden_RD: torch.Tensor,
    target_row: Ints,
    target_token: Ints,
    vocab_size: int,
    *,
    chunked: bool = True,
) -> TargetScores:
    """Return log-probability and greedy flag of M targets, each at one of R rows.

    Args:
        hidden_RD: hidden states of `SplitModel.hidden` at the rows.
        target_row: [M] row of each target, in any order.
        target_token: [M] its token id.
        vocab_size: columns of the logits.
        chunked: whether the vocabulary may be cut into chunks (on a CPU; on other devices it always is).

    Returns:
        [M] natural logarithms (softmax in float32), and [M] whether the token is the row's argmax: the first
        of equal logits.
    """
    if hidden_RD.device.type != "cpu":
        return score_on_device(model, hidden_RD, target_row, target_token, vocab_size)
    logprob = np.empty(len(target_row), dtype=np.float32)
    greedy = np.empty(len(target_row), dtype=np.bool_)
    order = np.argsort(target_row, kind="stable")
    n_columns = model.n_columns if chunked else None
    rows = BatchLimit(ROWS_PER_BLOCK if n_columns else max(1, LOGITS_PER_BLOCK // vocab_size))
    start = 0
    while start < len(hidden_RD):
        block_RD = hidden_RD[start : start + rows.limit]
        low, high = np.searchsorted(target_row, [start, start + len(block_RD)], sorter=order)
        chosen = order[low:high]
        with rows.halving(len(block_RD)):
            logprob[chosen], greedy[chosen] = _score_block(
                model, block_RD, target_row[chosen] - start, target_token[chosen], n_columns
            )
            start += len(block_RD)
    return logprob, greedy


def score_on_device(
    model: SplitModel, hidden_RD: torch.Tensor, target_row: Ints, target_token: Ints, vocab_size: int
) -> TargetScores:
    """Do the same as `score_rows` on a GPU: in large blocks, with one copy to the CPU at the end."""
    device = hidden_RD.device
    order = np.argsort(target_row, kind="stable")
    row, token = target_row[order], target_token[order]
    targets = Targets(hidden_RD, row, torch.from_numpy(row).to(device), torch.from_numpy(token).to(device))
    scores = score_targets(model, targets, vocab_size)
    logprob = np.empty(len(row), dtype=np.float32)
    greedy = np.empty(len(row), dtype=np.bool_)
    logprob[order], greedy[order] = scores.logprob_M.cpu().numpy(), scores.greedy_M.cpu().numpy()
    return logprob, greedy


class DeferredHead:
    """Collects hidden states over forward passes, so that the LM head runs on full blocks of rows."""

    def __init__(self, model: SplitModel, vocab_size: int, *, chunked: bool = True) -> None:
        self.model = model
        self.vocab_size = vocab_size
        self.chunked = chunked
        self._hidden: list[torch.Tensor] = []
        self._targets: list[tuple[Ints, Ints]] = []
        self._n_rows = 0
        self._sequences: list[Ints] = [np.empty(0, np.int64)]
        self._scores: list[TargetScores] = [(np.empty(0, np.float32), np.empty(0, np.bool_))]

    def add(self, hidden_RD: torch.Tensor, target_row: Ints, target_token: Ints, sequence: Ints) -> None:
        """Add rows and their targets (see `score_rows`), each with the sequence that it counts for."""
        self._hidden.append(hidden_RD)
        self._targets.append((target_row + self._n_rows, target_token))
        self._sequences.append(sequence)
        self._n_rows += len(hidden_RD)
        if self._n_rows >= ROWS_PER_BLOCK:
            self._run()

    def finish(self) -> tuple[Ints, npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return sequence, log-probability and greedy flag of all targets, in the order they were added."""
        if self._n_rows:
            self._run()
        logprob, greedy = (np.concatenate(parts) for parts in zip(*self._scores, strict=True))
        return np.concatenate(self._sequences), logprob, greedy

    def _run(self) -> None:
        row, token = (np.concatenate(parts) for parts in zip(*self._targets, strict=True))
        hidden_RD = torch.cat(self._hidden)
        self._hidden, self._targets, self._n_rows = [], [], 0
        self._scores.append(
            score_rows(self.model, hidden_RD, row, token, self.vocab_size, chunked=self.chunked)
        )


def _score_block(
    model: SplitModel,
    hidden_RD: torch.Tensor,
    target_row: Ints,
    target_token: Ints,
    n_columns: int | None,
) -> TargetScores:
    """Score the targets of one block of rows; `n_columns` is None if the vocabulary must not be cut."""
    device = hidden_RD.device
    row_M, token_M = torch.from_numpy(target_row).to(device), torch.from_numpy(target_token).to(device)
    softmax = _OnlineSoftmax.start(len(hidden_RD), row_M, token_M)
    if n_columns is None:
        softmax.add(model.logits(hidden_RD), 0)
    else:
        for first in range(0, n_columns, COLUMNS_PER_CHUNK):
            columns = slice(first, min(first + COLUMNS_PER_CHUNK, n_columns))
            softmax.add(model.logits(hidden_RD, columns), first)
    return softmax.scores()


@dataclass(slots=True)
class _OnlineSoftmax:
    """The softmax of R rows and their M targets after some columns of the logits."""

    row_M: torch.Tensor
    token_M: torch.Tensor
    largest_R: torch.Tensor
    total_R: torch.Tensor
    """Sum of exp(logit - largest)."""
    largest_chunk_R: torch.Tensor
    """First column of the chunk in which the largest logit came first."""
    logit_M: torch.Tensor
    first_of_chunk_M: torch.Tensor
    """First column of the target's chunk if the target is that chunk's argmax, else -1."""

    @classmethod
    def start(cls, n_rows: int, row_M: torch.Tensor, token_M: torch.Tensor) -> _OnlineSoftmax:
        rows = torch.zeros(n_rows, device=row_M.device)
        return cls(
            row_M=row_M,
            token_M=token_M,
            largest_R=torch.full_like(rows, LOWEST),
            total_R=rows,
            largest_chunk_R=torch.full_like(rows, -2, dtype=torch.int64),
            logit_M=torch.full_like(row_M, math.nan, dtype=torch.float32),
            first_of_chunk_M=torch.full_like(row_M, -1),
        )

    def add(self, logits_RC: torch.Tensor, first: int) -> None:
        """Add the columns from `first` on; may overwrite the logits."""
        logits_RC = logits_RC.float()
        largest_R = logits_RC.amax(-1)
        self._find_targets(logits_RC, largest_R, first)
        self.largest_chunk_R = torch.where(largest_R > self.largest_R, first, self.largest_chunk_R)
        largest_R = torch.maximum(largest_R, self.largest_R)
        # exp2 is about twice as fast as exp on a CPU; one pass brings the logits to its base.
        to_base_2 = math.log2(math.e)
        exponents_RC = torch.add(-largest_R[:, None] * to_base_2, logits_RC, alpha=to_base_2, out=logits_RC)
        self.total_R = self.total_R * torch.exp(self.largest_R - largest_R) + exponents_RC.exp2_().sum(-1)
        self.largest_R = largest_R

    def _find_targets(self, logits_RC: torch.Tensor, largest_R: torch.Tensor, first: int) -> None:
        column_M = self.token_M - first
        here = torch.nonzero((column_M >= 0) & (column_M < logits_RC.shape[1]))[:, 0]
        row, column = self.row_M[here], column_M[here]
        logit = logits_RC[row, column]
        self.logit_M[here] = logit
        # Equal logits are common in bfloat16, so the largest logit is not always the argmax.
        top = logit == largest_R[row]
        winner = logits_RC[row[top]].argmax(-1) == column[top]
        self.first_of_chunk_M[here[top][winner]] = first

    def scores(self) -> TargetScores:
        log_total_R = self.largest_R + self.total_R.log()
        logprob_M = self.logit_M - log_total_R[self.row_M]
        greedy_M = self.first_of_chunk_M == self.largest_chunk_R[self.row_M]
        return logprob_M.cpu().numpy(), greedy_M.cpu().numpy()
