"""Whether an engine may be used for a model: what the model says of itself, and what a trial shows.

A wrong mask, a padded state or a position that depends on the company gives plausible scores, so nothing is
taken on faith. Every engine but `reference` scores, before its first scores, a few of the very requests
together, and has to agree with `reference`, which has them one at a time. For the packed engine the model
must also declare that its attention can be replaced, ask it for nothing unknown (`registry`) and call it once
per layer (`packed`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from milepost.engine.attention_hook import UnsupportedAttentionError
from milepost.engine.memory import is_out_of_memory
from milepost.engine.positions import boundaries, length_switch
from milepost.engine.reference import ReferenceEngine
from milepost.errors import MilepostError
from milepost.plan.sequences import longest, take
from milepost.types import Scores, Sequences

if TYPE_CHECKING:
    import numpy.typing as npt

KNOWN_LAYER_TYPES = {"full_attention", "sliding_attention"}
TOLERANCE_NATS = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.4}
"""Per target; a sum of n targets may differ by sqrt(n) times as much. Rounding alone stays well below."""
MAX_BOUNDARIES = 4
CUT_TARGETS = 8
"""Targets of a sequence that was cut for a trial."""


class Verdict(NamedTuple):
    """Outcome of a trial."""

    reason: str | None
    """Why the engine is not to be used; None where nothing speaks against it."""
    compared: bool
    """Whether there were numbers to compare; False where the weights gave only NaN."""


def reason_from_config(module: torch.nn.Module) -> str | None:
    """Why the model's own declarations rule the packed engine out; None where they do not."""
    name = type(module).__name__
    if not getattr(module, "_supports_attention_backend", False):
        return f"{name} does not let its attention be replaced"
    config = text_config(module)
    strange = set(getattr(config, "layer_types", None) or ()) - KNOWN_LAYER_TYPES
    if strange:
        return f"{name} has layers of type {', '.join(sorted(strange))}"
    if getattr(config, "is_encoder_decoder", False):
        return f"{name} is an encoder-decoder"
    return None


def reason_from_positions(module: torch.nn.Module, n_tokens: int) -> str | None:
    """Why sequences of up to `n_tokens` tokens of input must not be computed with shorter ones; None where
    they may."""
    switch = length_switch(module)
    if switch is None or n_tokens <= switch.tokens:
        return None
    return f"its positions ({switch.kind}) depend on the batch above {switch.tokens:,} tokens"


def text_config(module: torch.nn.Module) -> Any:
    """The config of the language model, where a config holds several."""
    config: Any = module.config
    return config.get_text_config(decoder=True)


class Trial:
    """A few of the requests that are about to be scored, and what `reference` makes of them."""

    def __init__(
        self,
        module: torch.nn.Module,
        vocab_size: int,
        sequences: Sequences,
        *,
        equal_lengths: bool = False,
        longer_than: int = 0,
        longest_pair: int | None = None,
    ) -> None:
        """Choose and score the probes.

        Args:
            sequences: what is to be scored; not empty.
            equal_lengths: probes come in pairs of one length, for an engine that batches only those.
            longer_than: the engine is given only sequences of more tokens of input than that.
            longest_pair: two sequences of so many tokens of input are the longest that it batches, if that
                is known.
        """
        if longer_than:
            lengths = np.diff(sequences.starts) - 1
            sequences = take(sequences, np.flatnonzero(lengths > longer_than))
        most = longest(sequences) - 1
        both_sides = [length for length in boundaries(module) if longer_than < length < most]
        both_sides = both_sides[-MAX_BOUNDARIES:] + ([longest_pair] if longest_pair else [])
        probes = probes_of(sequences, both_sides, equal_lengths=equal_lengths)
        plain = ReferenceEngine(module, vocab_size=vocab_size).score(probes)
        # What the model raises on says nothing of an engine; `careful` sees to such requests.
        sound = np.setdiff1d(np.arange(len(probes)), list(plain.failed)).astype(np.int64)
        self.probes = take(probes, sound)
        self._plain = plain.loglikelihood[sound]
        tolerance = TOLERANCE_NATS.get(next(module.parameters()).dtype, 0.4)
        self._allowed = tolerance * np.sqrt(self.probes.n_targets)

    def verdict(self, score: Callable[[Sequences, int], Scores]) -> Verdict:
        """Of a function that scores sequences with a budget of tokens, which cuts them into several packs."""
        if not len(self.probes):
            return Verdict(None, compared=False)
        try:
            found = score(self.probes, max(1, len(self.probes.tokens) // 3))
        except Exception as error:
            # Whatever goes wrong in a trial is a reason not to use what was tried, and it is told.
            if isinstance(error, MilepostError) or is_out_of_memory(error):
                raise
            return Verdict(one_line(error), compared=True)
        comparable = np.isfinite(self._plain)
        off = np.abs(found.loglikelihood - self._plain)[comparable]
        if (~(off <= self._allowed[comparable])).any():
            return Verdict(f"its scores are {off.max():.2g} nats off the plain forward pass", compared=True)
        return Verdict(None, compared=bool(comparable.any()))


class Trials:
    """Which sequences an engine has proved itself on: up to which length, since every trial has both sides of
    every boundary below it."""

    def __init__(
        self,
        module: torch.nn.Module,
        vocab_size: int,
        planned: Sequences | None = None,
        *,
        longer_than: int = 0,
    ) -> None:
        """`planned`: sequences as long as any to come; None where they are not known. See `Trial`."""
        self._longer_than = longer_than
        self._module = module
        self._vocab_size = vocab_size
        self._planned = planned
        self._verified_length = 0

    def due(
        self, sequences: Sequences, *, equal_lengths: bool = False, longest_pair: int | None = None
    ) -> Trial | None:
        """A trial for sequences that are longer than any tried before; None where there are none such. For
        the arguments see `Trial`."""
        if longest(sequences) <= self._verified_length:
            return None
        return Trial(
            self._module,
            self._vocab_size,
            self._tried(sequences),
            equal_lengths=equal_lengths,
            longer_than=self._longer_than,
            longest_pair=longest_pair,
        )

    def longest(self, sequences: Sequences) -> int:
        """Tokens of input of the longest that a trial for these has."""
        return longest(self._tried(sequences)) - 1

    def passed(self, sequences: Sequences, verdict: Verdict) -> None:
        """Remember a verdict that found numbers to compare."""
        if verdict.compared and verdict.reason is None:
            self._verified_length = longest(self._tried(sequences))

    def _tried(self, sequences: Sequences) -> Sequences:
        if self._planned is not None and longest(self._planned) >= longest(sequences):
            return self._planned
        return sequences


def probes_of(sequences: Sequences, lengths: Sequence[int] = (), *, equal_lengths: bool = False) -> Sequences:
    """The longest sequence, for windows and limits of position; its neighbours, for sharing; the first and
    the shortest, for company; and what the longest has on both sides of some lengths.

    Args:
        lengths: tokens of input at which a model may change what it does; those of the longest sequence and
            more are left out.
        equal_lengths: each also with the tokens of its context in reverse, so that no length is alone.
    """
    n_tokens = np.diff(sequences.starts)
    top = int(n_tokens.argmax())
    wanted = np.array([top, top + 1, top - 1, 0, int(n_tokens.argmin())])
    chosen = np.unique(wanted[(wanted >= 0) & (wanted < len(sequences))])
    probes = [_of(sequences, i) for i in chosen]
    whole, _ = _of(sequences, top)
    below = [length for length in lengths if 1 <= length < len(whole) - 1]
    for cut in sorted({cut for length in below for cut in (length + 1, length + 2)}):
        probes.append((whole[:cut], min(CUT_TARGETS, cut - 1)))
    if equal_lengths:
        probes += [(np.append(tokens[-2::-1], tokens[-1:]), n) for tokens, n in probes]
    return Sequences(
        tokens=np.concatenate([tokens for tokens, _ in probes]),
        starts=np.concatenate([[0], np.cumsum([len(tokens) for tokens, _ in probes])]).astype(np.int64),
        n_targets=np.array([n for _, n in probes], dtype=np.int32),
    )


def one_line(error: Exception) -> str:
    """An exception as a reason."""
    text = " ".join(str(error).split())[:200]
    return text if isinstance(error, UnsupportedAttentionError) else f"{type(error).__name__}: {text}"


def _of(sequences: Sequences, i: int) -> tuple[npt.NDArray[np.int32], int]:
    return sequences.tokens[sequences.starts[i] : sequences.starts[i + 1]], int(sequences.n_targets[i])
