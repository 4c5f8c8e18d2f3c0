"""Answers that are tokens with their log-probabilities, as the strings that a results folder stores."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Alternatives:
    """The K likeliest tokens at each of T places, likeliest first, by the model's own distribution."""

    tokens: npt.NDArray[np.int32]
    """[T, K] token ids."""
    logprobs: npt.NDArray[np.float32]
    """[T, K] nats, before temperature and other sampling options."""


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """The T tokens that a model gave, or those of a prompt, each with its log-probability."""

    tokens: npt.NDArray[np.int32]
    """[T] token ids; empty for a prompt, whose tokens the plan has."""
    logprobs: npt.NDArray[np.float32]
    """[T] nats; for a prompt [T - 1], as nothing predicts its first token."""
    alternatives: Alternatives | None = None
    """None where none were asked for."""

    def to_text(self) -> str:
        """Return the arrays in base64, with spaces between them."""
        parts = [self.tokens.astype("<i4"), self.logprobs.astype("<f4")]
        if self.alternatives is not None:
            parts += [self.alternatives.tokens.astype("<i4"), self.alternatives.logprobs.astype("<f4")]
        return " ".join(base64.b64encode(part.tobytes()).decode("ascii") for part in parts)

    @classmethod
    def from_text(cls, text: str) -> TokenAnswer:
        """Read what `to_text` returned.

        Raises:
            ValueError: the text is damaged.
        """
        tokens, logprobs, *others = (base64.b64decode(part, validate=True) for part in text.split(" "))
        answer = cls(np.frombuffer(tokens, dtype="<i4"), np.frombuffer(logprobs, dtype="<f4"))
        if not others:
            return answer
        other_tokens, other_logprobs = others
        shape = len(answer.tokens), -1
        return cls(
            answer.tokens,
            answer.logprobs,
            Alternatives(
                np.frombuffer(other_tokens, dtype="<i4").reshape(shape),
                np.frombuffer(other_logprobs, dtype="<f4").reshape(shape),
            ),
        )
