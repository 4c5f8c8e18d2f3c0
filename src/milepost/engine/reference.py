"""The engine that is obviously right: one sequence, one plain forward pass. Others are tested against it.

A model that keeps something of the sequences before (`positions`) is made to forget it, so that each sequence
is scored as if it were the first.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from milepost.engine.base import ShardByShard
from milepost.engine.inputs import check_tokens
from milepost.engine.positions import fresh_positions
from milepost.types import Scores

if TYPE_CHECKING:
    from milepost.types import Sequences


class ReferenceEngine(ShardByShard):
    """One sequence at a time through the model's own forward, float32 log-softmax."""

    name = "reference"

    def __init__(self, module: torch.nn.Module, *, vocab_size: int, fallback: str | None = None) -> None:
        self.module = module
        self.vocab_size = vocab_size
        self.fallback = fallback
        self._can_leave_out_logits = "logits_to_keep" in inspect.signature(module.forward).parameters

    @torch.inference_mode()
    def score(self, sequences: Sequences) -> Scores:
        check_tokens(sequences, self.vocab_size)
        loglikelihood = np.empty(len(sequences), dtype=np.float64)
        greedy = np.empty(len(sequences), dtype=np.bool_)
        device = next(self.module.parameters()).device
        for i, n in enumerate(sequences.n_targets):
            tokens_T = torch.from_numpy(
                sequences.tokens[sequences.starts[i] : sequences.starts[i + 1]].copy()
            )
            tokens_T = tokens_T.to(device, torch.int64)
            targets_n = tokens_T[-n:]
            fresh_positions(self.module)
            wanted: dict[str, Any] = {"logits_to_keep": int(n)} if self._can_leave_out_logits else {}
            output = self.module(tokens_T[None, :-1], use_cache=False, **wanted)
            logits_nV = output.logits[0, -n:].float()
            logprobs_n = logits_nV.log_softmax(-1).gather(1, targets_n[:, None])
            total = logprobs_n.cpu().double().sum().item()  # MPS has no doubles
            finite = np.isfinite(total)
            loglikelihood[i] = total if finite else np.nan
            greedy[i] = finite and bool((logits_nV.argmax(-1) == targets_n).all())
        return Scores(loglikelihood=loglikelihood, greedy=greedy)
