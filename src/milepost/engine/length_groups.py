"""Short sequences and long ones apart, for models whose positions change with the longest of a batch.

Up to the length at which they change (`positions`), such a model is like any other, and gets the engine that
was asked for; what is longer is padded, among its like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from milepost.engine.engine import ShardwiseEngine
from milepost.plan.sequences import take
from milepost.types import Scores, Sequences

if TYPE_CHECKING:
    from milepost.engine.engine import Engine
    from milepost.engine.positions import LengthSwitch


class LengthGroupedEngine(ShardwiseEngine):
    """Two engines over one module."""

    def __init__(self, short: Engine, long: Engine, switch: LengthSwitch) -> None:
        """`long` scores what has more than `switch.tokens` tokens of input."""
        self._short, self._long, self._switch = short, long, switch
        self._used: list[Engine] = []

    @property
    def name(self) -> str:
        """Of those used so far, such as `packed+padded`."""
        return "+".join(dict.fromkeys(engine.name for engine in self._used or [self._short]))

    @property
    def fallback(self) -> str | None:
        reasons = [self._short.fallback] if self._short in self._used else []
        if self._long in self._used:
            reasons.append(
                f"sequences of more than {self._switch.tokens:,} tokens are scored by {self._long.name}: "
                f"positions ({self._switch.kind}) depend on the batch there"
            )
            reasons.append(self._long.fallback)
        return "; ".join(reason for reason in reasons if reason) or None

    def score(self, sequences: Sequences) -> Scores:
        """See `Engine.score`."""
        is_long = np.diff(sequences.starts) - 1 > self._switch.tokens
        loglikelihood = np.empty(len(sequences), dtype=np.float64)
        greedy = np.empty(len(sequences), dtype=np.bool_)
        for engine, chosen in (
            (self._short, np.flatnonzero(~is_long)),
            (self._long, np.flatnonzero(is_long)),
        ):
            if not len(chosen):
                continue
            if engine not in self._used:
                self._used.append(engine)
            scores = engine.score(take(sequences, chosen))
            loglikelihood[chosen], greedy[chosen] = scores.loglikelihood, scores.greedy
        return Scores(loglikelihood=loglikelihood, greedy=greedy)


def cut(sequences: Sequences, n_tokens: int) -> Sequences:
    """The sequences, each no longer than that many tokens of input."""
    lengths = np.minimum(np.diff(sequences.starts), n_tokens + 1)
    parts = [sequences.tokens[start : start + n] for start, n in zip(sequences.starts, lengths, strict=False)]
    return Sequences(
        tokens=np.concatenate([sequences.tokens[:0], *parts]),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        n_targets=np.minimum(sequences.n_targets, lengths - 1).astype(np.int32),
    )
