"""The engine that is obviously right: one sequence, one plain forward pass. Others are tested against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.base import ShardByShard
from milepost.engine.inputs import check_tokens
from milepost.types import Scores

if TYPE_CHECKING:
    from milepost.types import Sequences


class ReferenceEngine(ShardByShard):
    """One sequence at a time through the model's own forward, all logits, float32 log-softmax."""

    name = "reference"
    fallback: str | None = None

    def __init__(self, module: torch.nn.Module, *, vocab_size: int) -> None:
        self.module = module
        self.vocab_size = vocab_size

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
            logits_nV = self.module(tokens_T[None, :-1], use_cache=False).logits[0, -n:].float()
            logprobs_n = logits_nV.log_softmax(-1).gather(1, targets_n[:, None])
            total = logprobs_n.cpu().double().sum().item()  # MPS has no doubles
            finite = np.isfinite(total)
            loglikelihood[i] = total if finite else np.nan
            greedy[i] = finite and bool((logits_nV.argmax(-1) == targets_n).all())
        return Scores(loglikelihood=loglikelihood, greedy=greedy)
