"""The order in which prompts are continued, and the prefixes that they share. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]

MIN_SHARED = 16
"""The fewest common tokens that are worth keeping together or copying."""


@dataclass(slots=True, eq=False)
class Row:
    """An answer under way."""

    number: int
    """The answer's number in the job."""
    prompt: Ids
    rng: np.random.Generator
    n_shared: int
    """Tokens of the prefix that all prompts share."""
    tokens: list[int] = field(default_factory=list)
    """Tokens generated so far."""

    @property
    def own(self) -> Ids:
        """The prompt after the shared prefix."""
        return self.prompt[self.n_shared :]

    @property
    def n_kept(self) -> int:
        """Tokens in the row's slot before its next step: all after the prefix but the last one."""
        return len(self.prompt) - self.n_shared + len(self.tokens) - 1

    def history(self) -> npt.NDArray[np.int64]:
        """Return the token ids of prompt and text so far."""
        return np.concatenate([self.prompt, np.asarray(self.tokens, dtype=np.int32)]).astype(np.int64)


def common_length(a: Ids, b: Ids) -> int:
    """Return how many tokens two prompts have in common at their beginning."""
    length = min(len(a), len(b))
    differs = a[:length] != b[:length]
    return int(differs.argmax()) if differs.any() else length


def shared_prefix_length(prompts: Sequence[Ids]) -> int:
    """Return the length of the prefix that all prompts share, or 0 if it is not worth keeping.

    It is shorter than every prompt, since the forward pass over a prompt's last token gives the first logits.
    """
    if len(prompts) < 2:
        return 0
    shortest = min(len(prompt) for prompt in prompts) - 1
    common = min(shortest, min(common_length(prompts[0], prompt) for prompt in prompts[1:]))
    return common if common >= MIN_SHARED else 0


def sort_prompts(prompts: Sequence[Ids], *, sort: bool) -> list[int]:
    """Return the order of the prompts: those that share much together, long ones first; or as given."""
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
