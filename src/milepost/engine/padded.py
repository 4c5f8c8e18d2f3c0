"""Length-sorted batches, padded on the right with zeros and without a mask, as lm_eval runs causal models.

A causal model's position sees nothing to its right, so the padding changes no score; this holds for most
recurrent models as well. It does not where positions or states depend on the batch. So the engine proves
itself (`trust`) in mixed batches, else in batches of one length, and leaves the rest to `reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.body_and_head import SplitModel
from milepost.engine.engine import ShardwiseEngine
from milepost.engine.lm_head import score_rows
from milepost.engine.memory import is_out_of_memory
from milepost.engine.model_inputs import Inputs, check_tokens, distinct_inputs, sum_targets
from milepost.engine.positions import reset_positions
from milepost.engine.reference import ReferenceEngine
from milepost.engine.trial import Trials, reason_from_positions
from milepost.plan.sequences import take
from milepost.types import Scores, Sequences

if TYPE_CHECKING:
    import numpy.typing as npt

DEFAULT_BUDGET_TOKENS = {"cpu": 2048, "cuda": 32_768, "mps": 8192}


class PaddedEngine(ShardwiseEngine):
    """Different inputs once, in right-padded batches; the head only where a target is scored."""

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        vocab_size: int,
        budget_tokens: int | None = None,
        fallback: str | None = None,
        trial: Sequences | None = None,
        longer_than: int = 0,
    ) -> None:
        """Make an engine that was not tried yet.

        Args:
            fallback: why a faster engine is not used.
            trial: see `build_engine`.
            longer_than: every sequence to come has more tokens of input than that.
        """
        self.model = SplitModel(module)
        self.vocab_size = vocab_size
        self.budget_tokens = budget_tokens or DEFAULT_BUDGET_TOKENS.get(self.model.device.type, 2048)
        self._reasons = [fallback] if fallback else []
        self._trials = Trials(module, vocab_size, trial, longer_than=longer_than)
        self._longer_than = longer_than
        self._equal_lengths = False
        """Whether only inputs of one length come into a batch."""
        self._reference: ReferenceEngine | None = None

    @property
    def name(self) -> str:
        return "reference" if self._reference else "padded"

    @property
    def fallback(self) -> str | None:
        return "; ".join(self._reasons) or None

    @torch.inference_mode()
    def score(self, sequences: Sequences) -> Scores:
        check_tokens(sequences, self.vocab_size)
        self._verify(sequences)
        if self._reference is not None:
            return self._reference.score(sequences)
        return self._score(sequences, self.budget_tokens, self._halve)

    def _verify(self, sequences: Sequences) -> None:
        """A trial before the first scores, and again for longer sequences than any that were tried."""
        if not len(sequences) or self._reference is not None:
            return
        if not self._equal_lengths and self._trials.due(sequences):
            reason = None
            if not self._longer_than:
                reason = reason_from_positions(self.model.module, self._trials.longest(sequences))
            reason = reason or self._try(sequences)
            if reason is not None:
                self._reasons.append(f"batches are of one length only: {reason}")
                self._equal_lengths = True
        if self._equal_lengths:
            reason = self._try(sequences)
            if reason is not None:
                self._reasons[-1:] = [f"the padded engine is not used: {reason}"]
                self._reference = ReferenceEngine(self.model.module, vocab_size=self.vocab_size)

    def _try(self, sequences: Sequences) -> str | None:
        """Why batches of this kind are not right; None where a trial finds nothing against them."""
        trial = self._trials.due(
            sequences, equal_lengths=self._equal_lengths, longest_pair=self.budget_tokens // 2
        )
        if trial is None:
            return None
        verdict = trial.verdict(lambda probes, _: self._in_company(probes))
        self._trials.passed(sequences, verdict)
        return verdict.reason

    def _in_company(self, probes: Sequences) -> Scores:
        """Scores of probes, each beside the longest that leaves room for another in a batch."""
        lengths = np.diff(probes.starts) - 1
        fitting = np.flatnonzero(2 * lengths <= self.budget_tokens)
        if self._equal_lengths or not len(fitting):
            return self._score(probes, self.budget_tokens, self._halve)
        company = fitting[lengths[fitting].argmax()]
        n_others = max(1, self.budget_tokens // int(lengths[company]) - 1)
        loglikelihood, greedy = np.empty(len(probes)), np.empty(len(probes), dtype=np.bool_)
        for first in range(0, len(fitting), n_others):
            together = np.unique([company, *fitting[first : first + n_others]])
            scores = self._score(take(probes, together), self.budget_tokens, self._halve)
            loglikelihood[together], greedy[together] = scores.loglikelihood, scores.greedy
        alone = np.setdiff1d(np.arange(len(probes)), fitting)
        scores = self._score(take(probes, alone), self.budget_tokens, self._halve)
        loglikelihood[alone], greedy[alone] = scores.loglikelihood, scores.greedy
        return Scores(loglikelihood=loglikelihood, greedy=greedy)

    def _halve(self, n_tokens: int) -> int:
        self.budget_tokens = max(1, n_tokens // 2)
        return self.budget_tokens

    def _score(self, sequences: Sequences, budget_tokens: int, halve: Callable[[int], int]) -> Scores:
        """In batches of so many tokens; `halve` is told how many did not fit, and gives the next budget."""
        inputs = distinct_inputs(sequences)
        logprob = np.empty(len(inputs.target_row), dtype=np.float32)
        greedy = np.empty(len(inputs.target_row), dtype=np.bool_)
        target_order = np.argsort(inputs.target_row, kind="stable")
        longest_first = np.argsort(-inputs.lengths, kind="stable")

        done = 0
        while done < len(longest_first):
            batch = self._next_batch(inputs.lengths, longest_first[done:], budget_tokens)
            targets, row = _targets_of(inputs, batch, target_order)
            try:
                hidden_RD = self._hidden_rows(inputs, batch)
                found = score_rows(self.model, hidden_RD, row, inputs.target_token[targets], self.vocab_size)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(batch) == 1:
                    raise
                budget_tokens = halve(int(inputs.lengths[batch[0]]) * len(batch))
                continue
            logprob[targets], greedy[targets] = found
            done += len(batch)
        return sum_targets(len(sequences), inputs.target_sequence, logprob, greedy)

    def _next_batch(
        self, lengths: npt.NDArray[np.int64], waiting: npt.NDArray[np.int64], budget_tokens: int
    ) -> npt.NDArray[np.int64]:
        """The first inputs of those waiting, the longest first, that may go together."""
        width = lengths[waiting[0]]
        batch = waiting[: max(1, budget_tokens // width)]
        return batch[lengths[batch] == width] if self._equal_lengths else batch

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
        reset_positions(self.model.module)
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
