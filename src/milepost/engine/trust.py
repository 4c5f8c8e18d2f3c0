"""Whether the packed engine may be used for a model: what the model says of itself, and what a trial shows.

A wrong mask gives plausible scores, so nothing is taken on faith: the model must declare that its attention
can be replaced, ask it for nothing unknown (`registry`), call it once per layer (`packed`), and on a few of
the very requests to be scored agree with the plain forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from milepost.engine.memory import is_out_of_memory
from milepost.engine.padded import PaddedEngine
from milepost.engine.registry import UnsupportedAttentionError
from milepost.errors import MilepostError
from milepost.plan.sequences import take
from milepost.types import Scores, Sequences

if TYPE_CHECKING:
    import numpy.typing as npt

KNOWN_LAYER_TYPES = {"full_attention", "sliding_attention"}
TOLERANCE_NATS = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.4}
"""Per target; a sum of n targets may differ by sqrt(n) times as much. Rounding alone stays well below."""


class Verdict(NamedTuple):
    """Outcome of a trial."""

    reason: str | None
    """Why the packed engine is not to be used; None where nothing speaks against it."""
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


def text_config(module: torch.nn.Module) -> Any:
    """The config of the language model, where a config holds several."""
    config: Any = module.config
    return config.get_text_config(decoder=True)


class Trial:
    """A few of the requests that are about to be scored, and what the plain forward pass makes of them."""

    def __init__(self, module: torch.nn.Module, vocab_size: int, sequences: Sequences) -> None:
        self._probes = take(sequences, _probes(sequences))
        plain = PaddedEngine(module, vocab_size=vocab_size, budget_tokens=1).score(self._probes)
        self._plain = plain.loglikelihood
        tolerance = TOLERANCE_NATS.get(next(module.parameters()).dtype, 0.4)
        self._allowed = tolerance * np.sqrt(self._probes.n_targets)

    def verdict(self, score_packed: Callable[[Sequences, int], Scores]) -> Verdict:
        """Of a function that scores sequences with a budget of tokens per pack; they are cut into several."""
        try:
            packed = score_packed(self._probes, max(1, len(self._probes.tokens) // 3))
        except Exception as error:
            # Whatever goes wrong in a trial is a reason not to use what was tried, and it is told.
            if isinstance(error, MilepostError) or is_out_of_memory(error):
                raise
            return Verdict(_one_line(error), compared=True)
        comparable = np.isfinite(self._plain)
        off = np.abs(packed.loglikelihood - self._plain)[comparable]
        if (~(off <= self._allowed[comparable])).any():
            return Verdict(f"its scores are {off.max():.2g} nats off the plain forward pass", compared=True)
        return Verdict(None, compared=bool(comparable.any()))


def _probes(sequences: Sequences) -> npt.NDArray[np.int64]:
    """The longest sequence, for windows and limits of position; its neighbours, for sharing; the first."""
    longest = int(np.diff(sequences.starts).argmax())
    wanted = np.array([longest, longest + 1, longest - 1, 0])
    return np.unique(wanted[(wanted >= 0) & (wanted < len(sequences))])


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return text if isinstance(error, UnsupportedAttentionError) else f"{type(error).__name__}: {text}"
