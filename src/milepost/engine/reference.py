"""The reference engine: one sequence, one plain forward pass. The other engines are tested against it.

A model that keeps state of earlier sequences (`positions`) is reset, so that each sequence is scored as if it
were the first.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from milepost.engine.engine import ShardwiseEngine
from milepost.engine.model_inputs import check_tokens
from milepost.engine.positions import reset_positions
from milepost.engine.reasons import failure_reason
from milepost.types.sequences import Scores

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.types.sequences import Sequences

logger = logging.getLogger("milepost.engine")


class ReferenceEngine(ShardwiseEngine):
    """Runs one sequence at a time through the model's own forward, with a float32 log-softmax."""

    name = "reference"

    def __init__(self, module: torch.nn.Module, *, vocab_size: int, fallback: str | None = None) -> None:
        self.module = module
        self.vocab_size = vocab_size
        self.fallback = fallback
        self._can_limit_logits = "logits_to_keep" in inspect.signature(module.forward).parameters

    @torch.inference_mode()
    def score(self, sequences: Sequences) -> Scores:
        """See `Engine.score`. A sequence on which the model raises fails alone, with a reason."""
        check_tokens(sequences, self.vocab_size)
        loglikelihood = np.full(len(sequences), np.nan)
        greedy = np.zeros(len(sequences), dtype=np.bool_)
        failed: dict[int, str] = {}
        logprobs = [np.full(n, np.nan, dtype=np.float32) for n in sequences.n_targets.tolist()]
        for i, n in enumerate(sequences.n_targets.tolist()):
            tokens = sequences.tokens[sequences.starts[i] : sequences.starts[i + 1]]
            try:
                logprobs[i], is_greedy = self._score_sequence(tokens, n)
            except Exception as error:  # a model's code raises anything
                logger.debug("sequence %d raised", i, exc_info=error)
                failed[i] = failure_reason(error)
                continue
            total = logprobs[i].sum(dtype=np.float64)
            if np.isfinite(total):
                loglikelihood[i], greedy[i] = total, is_greedy
        return Scores(
            loglikelihood=loglikelihood,
            greedy=greedy,
            target_logprobs=np.concatenate([np.empty(0, np.float32), *logprobs]),
            failed=failed,
        )

    def _score_sequence(self, tokens: npt.NDArray[np.int32], n: int) -> tuple[npt.NDArray[np.float32], bool]:
        device = next(self.module.parameters()).device
        tokens_T = torch.from_numpy(tokens.copy()).to(device, torch.int64)
        targets_n = tokens_T[-n:]
        reset_positions(self.module)
        limit: dict[str, Any] = {"logits_to_keep": n} if self._can_limit_logits else {}
        output = self.module(tokens_T[None, :-1], use_cache=False, **limit)
        logits_nV = output.logits[0, -n:].float()
        logprobs_n = logits_nV.log_softmax(-1).gather(1, targets_n[:, None])
        found: npt.NDArray[np.float32] = logprobs_n[:, 0].cpu().numpy()
        return found, bool((logits_nV.argmax(-1) == targets_n).all())
