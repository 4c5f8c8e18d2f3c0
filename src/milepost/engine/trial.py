"""Verifies an engine on a model before it is used: by the model's config, and by a trial against `reference`.

A wrong mask, a padded state or a position that depends on the batch gives plausible scores. So every engine
but `reference` first scores a few of the very requests together, and must agree with `reference`, which
scores them one at a time. For the packed engine the model must also declare that its attention can be
replaced, pass it only known arguments (`attention_hook`) and call it once per layer (`packed`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch

from milepost.engine.attention_call import UnsupportedAttentionError
from milepost.engine.half_precision import upcast_matmuls
from milepost.engine.memory import is_out_of_memory
from milepost.engine.model_config import text_config
from milepost.engine.positions import boundaries, length_switch, reset_positions
from milepost.engine.reasons import kind_and_text
from milepost.engine.reference import ReferenceEngine
from milepost.errors import MilepostError
from milepost.plan.sequences import longest, take
from milepost.types.sequences import Scores, Sequences

if TYPE_CHECKING:
    import numpy.typing as npt

Result = TypeVar("Result")

KNOWN_LAYER_TYPES = {"full_attention", "sliding_attention"}
TOLERANCE_NATS = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.4}
"""Largest difference per target; sqrt(n) times as much for n targets. Rounding alone stays well below."""
OTHER_TOLERANCE_NATS = 0.4
MAX_BOUNDARIES = 4
PRODUCT_TOKENS = 32
"""Tokens on which widened products are compared with torch's own."""
COMPARED_TOKENS = 8
"""The most likely next tokens, whose logits are compared."""
CUT_TARGETS = 8
"""Targets of a sequence that was cut for a trial."""


class Verdict(NamedTuple):
    """Outcome of a trial."""

    reason: str | None
    """Reason why the engine must not be used; None if the trial found nothing against it."""
    compared: bool
    """True if there were numbers to compare; False if the weights gave only NaN."""

    @classmethod
    def on_difference(cls, kind: str, nats: float) -> Verdict:
        """Return the verdict on scores or logits that differ too much."""
        return cls(f"its {kind} are {nats:.2g} nats off the plain forward pass", compared=True)


def reason_from_config(module: torch.nn.Module) -> str | None:
    """Return why the model's config rules the packed engine out, or None."""
    name = type(module).__name__
    if not getattr(module, "_supports_attention_backend", False):
        return f"{name} does not let its attention be replaced"
    config = text_config(module)
    unknown = set(getattr(config, "layer_types", None) or ()) - KNOWN_LAYER_TYPES
    if unknown:
        return f"{name} has layers of type {', '.join(sorted(unknown))}"
    if getattr(config, "is_encoder_decoder", False):
        return f"{name} is an encoder-decoder"
    return None


def reason_from_positions(module: torch.nn.Module, n_tokens: int) -> str | None:
    """Return why inputs of up to `n_tokens` tokens must not be batched with shorter ones, or None."""
    switch = length_switch(module)
    if switch is None or n_tokens <= switch.tokens:
        return None
    return f"its positions ({switch.kind}) depend on the batch above {switch.tokens:,} tokens"


def tolerance_nats(module: torch.nn.Module) -> float:
    """Return how far the log-probability of one target may differ from `reference`, in nats."""
    return TOLERANCE_NATS.get(next(module.parameters()).dtype, OTHER_TOLERANCE_NATS)


def are_widened_right(module: torch.nn.Module, tokens: npt.NDArray[np.int32]) -> bool:
    """Return whether widened products (`half_precision`) give what torch's own do, for a few first tokens.

    If so, `reference` may use them in a trial: torch's own make a trial as long as many requests.
    """
    few_1T = torch.from_numpy(tokens[:PRODUCT_TOKENS].astype(np.int64))[None]
    few_1T = few_1T.to(next(module.parameters()).device)
    found = []
    for wanted in (False, True):
        reset_positions(module)
        try:
            with torch.inference_mode(), upcast_matmuls(module, wanted=wanted):
                logits_TV = module(few_1T, use_cache=False).logits[0]
        except Exception:  # a model's code raises anything; it raises again in the trial
            return False
        found.append(logits_TV.float().log_softmax(-1))
    likeliest = found[0].topk(min(COMPARED_TOKENS, found[0].shape[1]), -1)
    off = (found[1].gather(1, likeliest.indices) - likeliest.values).abs().max().item()
    return bool(off <= tolerance_nats(module))


def try_to(run: Callable[[], Result], *, let_through: tuple[type[Exception], ...] = ()) -> Result | Verdict:
    """Return the result of a trial's forward passes, or the verdict if they raise.

    A lack of memory says nothing against what is tried: it is raised, as are the exceptions of `let_through`.
    """
    try:
        return run()
    except Exception as error:
        if isinstance(error, let_through) or is_out_of_memory(error):
            raise
        unsupported = isinstance(error, UnsupportedAttentionError)
        return Verdict(str(error) if unsupported else kind_and_text(error), compared=True)


class Trial:
    """A few of the requests to be scored (probes), and their scores by `reference`."""

    def __init__(
        self,
        module: torch.nn.Module,
        vocab_size: int,
        sequences: Sequences,
        *,
        equal_lengths: bool = False,
        longer_than: int = 0,
        longest_pair: int | None = None,
        upcast: bool = True,
    ) -> None:
        """Choose and score the probes.

        Args:
            sequences: the sequences to be scored; not empty.
            equal_lengths: whether probes come in pairs of equal length, for an engine that needs those.
            longer_than: the engine gets only sequences with more input tokens than that.
            longest_pair: the most input tokens of which two sequences fit into one batch, if known.
            upcast: whether `reference` multiplies as `Optimizations.upcast_matmuls` says.
        """
        if longer_than:
            lengths = np.diff(sequences.starts) - 1
            sequences = take(sequences, np.flatnonzero(lengths > longer_than))
        most = longest(sequences) - 1
        both_sides = [length for length in boundaries(module) if longer_than < length < most]
        both_sides = both_sides[-MAX_BOUNDARIES:] + ([longest_pair] if longest_pair else [])
        probes = probes_of(sequences, both_sides, equal_lengths=equal_lengths)
        upcast = upcast and are_widened_right(module, probes.tokens)
        with upcast_matmuls(module, wanted=upcast):
            expected = ReferenceEngine(module, vocab_size=vocab_size).score(probes)
        # A request on which the model raises says nothing of an engine (see `failure_isolation`).
        sound = np.setdiff1d(np.arange(len(probes)), list(expected.failed)).astype(np.int64)
        self.probes = take(probes, sound)
        self._expected = expected.loglikelihood[sound]
        self._allowed = tolerance_nats(module) * np.sqrt(self.probes.n_targets)

    def verdict(self, score: Callable[[Sequences, int], Scores]) -> Verdict:
        """Judge a function that scores sequences with a token budget, which is so small that it needs several
        packs.

        Raises:
            MilepostError: the model does not have one of the token ids.
        """
        if not len(self.probes):
            return Verdict(None, compared=False)
        budget_tokens = max(1, len(self.probes.tokens) // 3)
        scores = try_to(lambda: score(self.probes, budget_tokens), let_through=(MilepostError,))
        if isinstance(scores, Verdict):
            return scores
        comparable = np.isfinite(self._expected)
        off = np.abs(scores.loglikelihood - self._expected)[comparable]
        if (~(off <= self._allowed[comparable])).any():
            return Verdict.on_difference("scores", off.max())
        return Verdict(None, compared=bool(comparable.any()))


class Trials:
    """The trials of one engine. One that passed holds for all sequences that are no longer than its longest,
    since it has probes on both sides of every boundary below that."""

    def __init__(
        self,
        module: torch.nn.Module,
        vocab_size: int,
        planned: Sequences | None = None,
        *,
        longer_than: int = 0,
        upcast: bool = True,
    ) -> None:
        """`planned`: sequences as long as any to come, or None if not known; the others: see `Trial`."""
        self._longer_than = longer_than
        self._module = module
        self._vocab_size = vocab_size
        self._planned = planned
        self._upcast = upcast
        self.verified_length = 0
        """Tokens of the longest sequence that a passed trial had."""

    def is_due(self, sequences: Sequences) -> bool:
        """Return whether one of the sequences is longer than any of a passed trial."""
        return longest(sequences) > self.verified_length

    def trial(
        self, sequences: Sequences, *, equal_lengths: bool = False, longest_pair: int | None = None
    ) -> Trial:
        """Return a trial for sequences; for the arguments see `Trial`."""
        return Trial(
            self._module,
            self._vocab_size,
            self._candidates(sequences),
            equal_lengths=equal_lengths,
            longer_than=self._longer_than,
            longest_pair=longest_pair,
            upcast=self._upcast,
        )

    def longest_input(self, sequences: Sequences) -> int:
        """Return the input tokens of the longest sequence in a trial for these."""
        return longest(self._candidates(sequences)) - 1

    def record(self, sequences: Sequences, verdict: Verdict) -> None:
        """Remember a passed trial that had numbers to compare."""
        if verdict.compared and verdict.reason is None:
            self.verified_length = longest(self._candidates(sequences))

    def _candidates(self, sequences: Sequences) -> Sequences:
        if self._planned is not None and longest(self._planned) >= longest(sequences):
            return self._planned
        return sequences


def probes_of(sequences: Sequences, lengths: Sequence[int] = (), *, equal_lengths: bool = False) -> Sequences:
    """Return the probes of a trial.

    They are the longest sequence, for windows and limits of positions; its neighbours, for sharing; the first
    and the shortest, for batches of several lengths; and the beginning of the longest on both sides of some
    lengths.

    Args:
        sequences: not empty.
        lengths: input tokens at which a model may change its computation; only those below the longest count.
        equal_lengths: whether to add each probe with its context reversed, so that no length is alone.
    """
    n_tokens = np.diff(sequences.starts)
    top = int(n_tokens.argmax())
    wanted = np.array([top, top + 1, top - 1, 0, int(n_tokens.argmin())])
    chosen = np.unique(wanted[(wanted >= 0) & (wanted < len(sequences))])
    probes = [_sequence(sequences, i) for i in chosen]
    whole, _ = _sequence(sequences, top)
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


def _sequence(sequences: Sequences, i: int) -> tuple[npt.NDArray[np.int32], int]:
    return sequences.tokens[sequences.starts[i] : sequences.starts[i + 1]], int(sequences.n_targets[i])
