"""Which texts are to be written, in which order, and what their prompts share. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]

MIN_SHARED = 16
"""Fewer tokens in common are not worth keeping together or copying."""


@dataclass(slots=True, eq=False)
class Row:
    """One text on its way."""

    number: int
    """Its place among the texts asked for."""
    prompt: Ids
    draws: np.random.Generator
    n_shared: int
    """Tokens of the prompt that all prompts begin with and that are kept apart."""
    tokens: list[int] = field(default_factory=list)
    """What was generated so far."""

    @property
    def own(self) -> Ids:
        """The prompt behind what is shared."""
        return self.prompt[self.n_shared :]

    @property
    def n_kept(self) -> int:
        """Keys and values of its own that are in memory before its next step: all but of its last token."""
        return len(self.prompt) - self.n_shared + len(self.tokens) - 1

    def history(self) -> npt.NDArray[np.int64]:
        return np.concatenate([self.prompt, np.asarray(self.tokens, dtype=np.int32)]).astype(np.int64)


def common_length(a: Ids, b: Ids) -> int:
    """How many tokens two prompts begin with in common."""
    length = min(len(a), len(b))
    differs = a[:length] != b[:length]
    return int(differs.argmax()) if differs.any() else length


def shared_prefix_length(prompts: Sequence[Ids]) -> int:
    """What all prompts begin with; less than the whole of any, since what follows its last token is asked."""
    if len(prompts) < 2:
        return 0
    shortest = min(len(prompt) for prompt in prompts) - 1
    common = min(shortest, min(common_length(prompts[0], prompt) for prompt in prompts[1:]))
    return common if common >= MIN_SHARED else 0


def sort_prompts(prompts: Sequence[Ids], *, sort: bool) -> list[int]:
    """Prompts that share much next to each other; otherwise the longest first, or as given."""
    if not sort:
        return list(range(len(prompts)))
    by_tokens = sorted(range(len(prompts)), key=lambda i: prompts[i].tolist())
    groups: list[list[int]] = [by_tokens[:1]]
    for before, this in pairwise(by_tokens):
        if common_length(prompts[before], prompts[this]) * 2 >= len(prompts[this]):
            groups[-1].append(this)
        else:
            groups.append([this])
    groups.sort(key=lambda group: -max(len(prompts[i]) for i in group))
    return [i for group in groups for i in group]
