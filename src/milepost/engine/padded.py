"""The padded engine: length-sorted batches, right-padded without a mask, as lm_eval runs causal models.

A position of a causal model sees nothing to its right, so padding changes no score; this holds for most
recurrent models as well, but not if positions or states depend on the batch. So the engine is tried (`trial`)
in mixed batches, then in batches of equal length, and otherwise `reference` takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from milepost.engine.body_and_head import SplitModel
from milepost.engine.budget import max_tokens
from milepost.engine.engine import ShardwiseEngine
from milepost.engine.lm_head import score_rows
from milepost.engine.memory import BatchLimit
from milepost.engine.model_inputs import Inputs, check_tokens, distinct_inputs, sum_targets
from milepost.engine.positions import reset_positions
from milepost.engine.reasons import join_reasons
from milepost.engine.reference import ReferenceEngine
from milepost.engine.trial import Trials, reason_from_positions
from milepost.plan.sequences import take
from milepost.types.sequences import Scores, Sequences

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]


class PaddedEngine(ShardwiseEngine):
    """Runs each distinct input once, in right-padded batches; the LM head only where a target is scored."""

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
        """Make an engine that is tried at its first scores.

        Args:
            budget_tokens: tokens in one forward pass; None for the device's default.
            fallback: why a faster engine is not used.
            trial: see `build_engine`.
            longer_than: every sequence to come has more input tokens than that.
        """
        self.model = SplitModel(module)
        self.vocab_size = vocab_size
        self._budget = BatchLimit(budget_tokens or max_tokens(self.model.device))
        self._reasons = [fallback] if fallback else []
        self._trials = Trials(module, vocab_size, trial, longer_than=longer_than)
        self._longer_than = longer_than
        self._equal_lengths = False
        """True if a batch has only inputs of one length."""
        self._reference: ReferenceEngine | None = None

    @property
    def name(self) -> str:
        """See `Engine.name`."""
        return "reference" if self._reference else "padded"

    @property
    def fallback(self) -> str | None:
        """See `Engine.fallback`."""
        return join_reasons(self._reasons)

    @property
    def budget_tokens(self) -> int:
        """Tokens of a batch, padding included."""
        return self._budget.limit

    @torch.inference_mode()
    def score(self, sequences: Sequences) -> Scores:
        """See `Engine.score`."""
        check_tokens(sequences, self.vocab_size)
        self._verify(sequences)
        if self._reference is not None:
            return self._reference.score(sequences)
        return self._score(sequences)

    def _verify(self, sequences: Sequences) -> None:
        """Try the engine before its first scores, and again for longer sequences than any tried before."""
        if not len(sequences) or self._reference is not None:
            return
        if not self._equal_lengths and self._trials.is_due(sequences):
            reason = None
            if not self._longer_than:
                reason = reason_from_positions(self.model.module, self._trials.longest_input(sequences))
            reason = reason or self._try(sequences)
            if reason is not None:
                self._reasons.append(f"batches are of one length only: {reason}")
                self._equal_lengths = True
        if self._equal_lengths and self._trials.is_due(sequences):
            reason = self._try(sequences)
            if reason is not None:
                self._reasons[-1:] = [f"the padded engine is not used: {reason}"]
                self._reference = ReferenceEngine(self.model.module, vocab_size=self.vocab_size)

    def _try(self, sequences: Sequences) -> str | None:
        """Return why batches of the present kind are wrong, or None if a trial finds nothing against them."""
        trial = self._trials.trial(
            sequences, equal_lengths=self._equal_lengths, longest_pair=self.budget_tokens // 2
        )
        verdict = trial.verdict(lambda probes, _: self.score_together(probes))
        self._trials.record(sequences, verdict)
        return verdict.reason

    def score_together(self, probes: Sequences) -> Scores:
        """Score probes, each in a batch with the longest one that leaves room for another."""
        lengths = np.diff(probes.starts) - 1
        fitting = np.flatnonzero(2 * lengths <= self.budget_tokens)
        if self._equal_lengths or not len(fitting):
            return self._score(probes)
        longest = fitting[lengths[fitting].argmax()]
        n_others = max(1, self.budget_tokens // int(lengths[longest]) - 1)
        batches = [
            np.unique([longest, *fitting[first : first + n_others]])
            for first in range(0, len(fitting), n_others)
        ]
        batches.append(np.setdiff1d(np.arange(len(probes)), fitting))
        loglikelihood, greedy = np.empty(len(probes)), np.empty(len(probes), dtype=np.bool_)
        for batch in batches:
            scores = self._score(take(probes, batch))
            loglikelihood[batch], greedy[batch] = scores.loglikelihood, scores.greedy
        return Scores(loglikelihood=loglikelihood, greedy=greedy)

    def _score(self, sequences: Sequences) -> Scores:
        """Score in batches of the present budget, which is halved if memory runs out."""
        inputs = distinct_inputs(sequences)
        logprob = np.empty(len(inputs.target_row), dtype=np.float32)
        greedy = np.empty(len(inputs.target_row), dtype=np.bool_)
        target_order = np.argsort(inputs.target_row, kind="stable")
        waiting = np.argsort(-inputs.lengths, kind="stable")
        while len(waiting):
            batch = self._next_batch(inputs.lengths, waiting)
            targets, row = _targets_of(inputs, batch, target_order)
            batch_tokens = int(inputs.lengths[batch[0]]) * len(batch)
            with self._budget.halving(batch_tokens, can_split=len(batch) > 1):
                hidden_RD = self._hidden_rows(inputs, batch)
                logprob[targets], greedy[targets] = score_rows(
                    self.model, hidden_RD, row, inputs.target_token[targets], self.vocab_size
                )
                waiting = waiting[len(batch) :]
        return sum_targets(len(sequences), inputs.target_sequence, logprob, greedy)

    def _next_batch(self, lengths: Ints, waiting: Ints) -> Ints:
        """Return the first of the waiting inputs, longest first, that may go together."""
        width = lengths[waiting[0]]
        batch = waiting[: max(1, self.budget_tokens // width)]
        return batch[lengths[batch] == width] if self._equal_lengths else batch

    def _hidden_rows(self, inputs: Inputs, batch: Ints) -> torch.Tensor:
        """Return the hidden states at the needed positions of a batch, input by input."""
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


def _targets_of(inputs: Inputs, batch: Ints, target_order: Ints) -> tuple[Ints, Ints]:
    """Return the targets of a batch of inputs, and each target's row within the batch."""
    first_row = inputs.first_row
    sorted_rows = inputs.target_row[target_order]
    low = np.searchsorted(sorted_rows, first_row[batch])
    high = np.searchsorted(sorted_rows, first_row[batch + 1])
    targets = np.concatenate([target_order[a:b] for a, b in zip(low, high, strict=True)])
    first_in_batch = np.cumsum(inputs.n_rows[batch]) - inputs.n_rows[batch]
    shift = np.repeat(first_in_batch - first_row[batch], high - low)
    return targets, inputs.target_row[targets] + shift
