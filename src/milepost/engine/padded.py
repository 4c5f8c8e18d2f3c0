"""Length-sorted batches, padded on the right with zeros and without a mask, as lm_eval runs causal models.

A causal model's position sees nothing to its right, so the padding changes no score; this holds for recurrent
models as well. Right for every causal LM that transformers can run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.base import ShardByShard
from milepost.engine.inputs import Inputs, check_tokens, distinct_inputs, sum_targets
from milepost.engine.memory import is_out_of_memory
from milepost.engine.rows import score_rows
from milepost.engine.split import SplitModel

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.types import Scores, Sequences

DEFAULT_BUDGET_TOKENS = {"cpu": 2048, "cuda": 32_768, "mps": 8192}


class PaddedEngine(ShardByShard):
    """Different inputs once, in right-padded batches; the head only where a target is scored."""

    name = "padded"

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        vocab_size: int,
        budget_tokens: int | None = None,
        fallback: str | None = None,
    ) -> None:
        self.model = SplitModel(module)
        self.vocab_size = vocab_size
        self.budget_tokens = budget_tokens or DEFAULT_BUDGET_TOKENS.get(self.model.device.type, 2048)
        self.fallback = fallback

    @torch.inference_mode()
    def score(self, sequences: Sequences) -> Scores:
        check_tokens(sequences, self.vocab_size)
        inputs = distinct_inputs(sequences)
        logprob = np.empty(len(inputs.target_row), dtype=np.float32)
        greedy = np.empty(len(inputs.target_row), dtype=np.bool_)
        target_order = np.argsort(inputs.target_row, kind="stable")
        longest_first = np.argsort(-inputs.lengths, kind="stable")

        done = 0
        while done < len(longest_first):
            width = len(inputs.tokens[longest_first[done]])
            batch = longest_first[done : done + max(1, self.budget_tokens // width)]
            targets, row = _targets_of(inputs, batch, target_order)
            try:
                hidden_RD = self._hidden_rows(inputs, batch)
                found = score_rows(self.model, hidden_RD, row, inputs.target_token[targets], self.vocab_size)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(batch) == 1:
                    raise
                self.budget_tokens = max(1, width * len(batch) // 2)
                continue
            logprob[targets], greedy[targets] = found
            done += len(batch)
        return sum_targets(len(sequences), inputs.target_sequence, logprob, greedy)

    def _hidden_rows(self, inputs: Inputs, batch: npt.NDArray[np.int64]) -> torch.Tensor:
        """Hidden states at the needed positions of a batch, input by input."""
        width = len(inputs.tokens[batch[0]])
        tokens_BT = np.zeros((len(batch), width), dtype=np.int64)
        needed_BT = np.zeros((len(batch), width), dtype=np.bool_)
        for b, i in enumerate(batch):
            length = len(inputs.tokens[i])
            tokens_BT[b, :length] = inputs.tokens[i]
            needed_BT[b, length - inputs.n_rows[i] : length] = True
        device = self.model.device
        hidden_BTD = self.model.hidden(torch.from_numpy(tokens_BT).to(device))
        return hidden_BTD[torch.from_numpy(needed_BT).to(device)]


def _targets_of(
    inputs: Inputs, batch: npt.NDArray[np.int64], target_order: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The targets of a batch of inputs, and each one's row counted within the batch."""
    first_row = inputs.first_row
    sorted_rows = inputs.target_row[target_order]
    low = np.searchsorted(sorted_rows, first_row[batch])
    high = np.searchsorted(sorted_rows, first_row[batch + 1])
    targets = np.concatenate([target_order[a:b] for a, b in zip(low, high, strict=True)])
    first_in_batch = np.cumsum(inputs.n_rows[batch]) - inputs.n_rows[batch]
    shift = np.repeat(first_in_batch - first_row[batch], high - low)
    return targets, inputs.target_row[targets] + shift
