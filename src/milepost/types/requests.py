"""Requests to a model as strings, before tokenisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from milepost.types.generation import Generation

RequestKind = Literal["loglikelihood", "loglikelihood_rolling", "generate_until"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """A rule for cutting the tokens of one text into windows, which are scored separately; see
    `plan.windows`.
    """

    kind: Literal["fixed", "sliding", "rolling"]
    size: int | None = None
    """Tokens per window; None: 2,048, or the model's context if that is shorter."""
    whole_context: bool = False
    """True: windows are as long as the model's context, whatever `size` is."""
    stride: int | None = None
    """Sliding only: new tokens per window after the first; None: `usual_stride`."""
    keep_tail: bool = False
    """Fixed only. True: the rest at the end is a (shorter) window as well."""
    most: int | None = None
    """Fixed only: most windows, from the start; None for all."""
    prefix: bool = False
    """Rolling only. True: the first token is predicted too, from a BOS (else EOS) token before it."""


def usual_stride(size: int) -> int:
    """Return the default stride of sliding windows of `size` tokens: 512, or half of a short window."""
    return min(512, max(1, size // 2))


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the model as strings, before tokenisation."""

    kind: RequestKind
    doc_id: int
    """Position of the doc in the task's evaluation split."""
    index: int
    """Number of the request in its doc (the choice, for multiple choice)."""
    context: str
    continuation: str
    """The text to score; the whole text of a rolling request (without context); empty for generation."""
    generation: Generation | None = None
    """Generation settings; None unless the kind is `generate_until`."""
    windows: Windows | None = None
    """How to cut the text into windows of tokens, each of which becomes a request; None for no windows."""
