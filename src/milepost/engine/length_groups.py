"""Short and long sequences through different engines, for models whose positions depend on the longest one.

Up to the length at which its positions change (`positions`), such a model is like any other and gets the
requested engine; longer sequences are padded, with others that are longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from milepost.engine.engine import Engine, ShardwiseEngine
from milepost.engine.reasons import join_reasons
from milepost.plan.sequences import take
from milepost.types.sequences import Scores, Sequences

if TYPE_CHECKING:
    from milepost.engine.generate.generator import Generator
    from milepost.engine.positions import LengthSwitch

Part = TypeVar("Part", bound="Engine | Generator")


class LengthGroups(Generic[Part]):
    """Two engines or two generators over one module."""

    def __init__(self, short: Part, long: Part, switch: LengthSwitch) -> None:
        """`long` takes everything that has more than `switch.tokens` tokens."""
        self._short, self._long, self._switch = short, long, switch
        self._used: list[Part] = []

    @property
    def name(self) -> str:
        """Names of the parts used so far, such as `packed+padded`."""
        return "+".join(dict.fromkeys(part.name for part in self._used or [self._short]))

    @property
    def fallback(self) -> str | None:
        """Reason why faster parts are not used, in one line."""
        reasons = [self._short.fallback] if self._short in self._used else []
        if self._long in self._used:
            long = self._describe_long(f"{self._switch.tokens:,} tokens", self._long.name)
            reasons.append(f"{long}: positions ({self._switch.kind}) depend on the batch there")
            reasons.append(self._long.fallback)
        return join_reasons(reasons)

    def _describe_long(self, limit: str, name: str) -> str:
        return f"sequences of more than {limit} are scored by {name}"

    def _use(self, *, long: bool) -> Part:
        part = self._long if long else self._short
        if part not in self._used:
            self._used.append(part)
        return part


class LengthGroupedEngine(LengthGroups[Engine], ShardwiseEngine):
    """An engine that scores short and long sequences apart."""

    def score(self, sequences: Sequences) -> Scores:
        """See `Engine.score`."""
        is_long = np.diff(sequences.starts) - 1 > self._switch.tokens
        loglikelihood = np.empty(len(sequences), dtype=np.float64)
        greedy = np.empty(len(sequences), dtype=np.bool_)
        logprobs = np.empty(int(sequences.n_targets.sum()), dtype=np.float32)
        for long in (False, True):
            chosen = np.flatnonzero(is_long == long)
            if len(chosen):
                scores = self._use(long=long).score(take(sequences, chosen))
                loglikelihood[chosen], greedy[chosen] = scores.loglikelihood, scores.greedy
                if scores.target_logprobs is not None:
                    logprobs[np.repeat(is_long == long, sequences.n_targets)] = scores.target_logprobs
        return Scores(loglikelihood=loglikelihood, greedy=greedy, target_logprobs=logprobs)


def cut(sequences: Sequences, n_tokens: int) -> Sequences:
    """Return the sequences, each cut after that many input tokens."""
    lengths = np.minimum(np.diff(sequences.starts), n_tokens + 1)
    parts = [sequences.tokens[start : start + n] for start, n in zip(sequences.starts, lengths, strict=False)]
    return Sequences(
        tokens=np.concatenate([sequences.tokens[:0], *parts]),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        n_targets=np.minimum(sequences.n_targets, lengths - 1).astype(np.int32),
    )
