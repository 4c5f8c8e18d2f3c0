"""Input and output of an engine: token ids in, log-likelihoods out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """N token sequences to score, each with targets at its end.

    Sequence i is `tokens[starts[i]:starts[i + 1]]`. The model's input is all of it but the last token, and
    its last `n_targets[i]` tokens are scored (1 <= n_targets[i] < length). A sequence is never longer than
    the model's context plus one. In a plan, a sequence without targets is a prompt to continue; engines do
    not get those.
    """

    tokens: npt.NDArray[np.int32]
    """[T] token ids, sequence after sequence."""
    starts: npt.NDArray[np.int64]
    """[N + 1] offsets into `tokens`."""
    n_targets: npt.NDArray[np.int32]
    """[N] number of scored tokens at the end."""

    def __len__(self) -> int:
        return len(self.n_targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores that an engine returns for `Sequences`, in their order."""

    loglikelihood: npt.NDArray[np.float64]
    """[N] nats, summed over the targets; NaN where the model gave NaN or Inf."""
    greedy: npt.NDArray[np.bool_]
    """[N] True if every target was the model's most likely token."""
    target_logprobs: npt.NDArray[np.float32] | None = None
    """[sum of `n_targets`] nats of each target, sequence after sequence; None where the engine has only the
    sums."""
    failed: Mapping[int, str] = field(default_factory=dict)
    """Number of a sequence to the reason why the model failed on it; its log-likelihood is NaN."""
