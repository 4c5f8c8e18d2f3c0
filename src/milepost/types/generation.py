"""Settings by which a model continues a prompt."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Settings for continuing a prompt; prompts with equal settings can be in one batch."""

    until: tuple[str, ...]
    """Stop strings: a text ends before the first of them."""
    max_new_tokens: int
    stop_tokens: tuple[int, ...] = ()
    """Token ids that end a text; they are not part of it."""
    do_sample: bool = False
    """Sample each token from the model's distribution, not the most likely token."""
    temperature: float = 1.0
    """Divides the logits; only used with `do_sample`."""
    options: tuple[tuple[str, float], ...] = ()
    """Other sampling options with transformers' names: `top_p`, `repetition_penalty`, ..."""
    n_answers: int = 1
    """Texts per prompt; more than one only with `do_sample`."""
    seed: int = 0
    """Seed of the sampling."""
    stop_sequences: tuple[tuple[int, ...], ...] = ()
    """Token ids that end a text where they stand one after the other."""
    returns: Literal["text", "tokens"] = "text"
    """`tokens`: the answer is token ids with their log-probabilities (`token_answers`) and not a text.
    With `max_new_tokens` 0 the tokens are those of the prompt."""
    n_alternatives: int = 0
    """Where tokens are returned: how many of the likeliest tokens at each place come with them."""

    def as_json(self) -> dict[str, object]:
        """Return the fields as JSON; those that came later only where they differ from their defaults, so
        that the names of older shards stay."""
        fields: dict[str, object] = asdict(self)
        if not self.stop_sequences:
            del fields["stop_sequences"]
        if self.returns == "text":
            del fields["returns"]
        if not self.n_alternatives:
            del fields["n_alternatives"]
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDefaults:
    """Generation settings from a model's own files, used where the task has none."""

    stop_tokens: tuple[int, ...] = ()
    options: tuple[tuple[str, float], ...] = ()
    """Sampling options, as in `Generation`."""
