"""Finds settings with which FlexAttention runs on a card: settings that fail are replaced by slower ones.

First come smaller blocks, if the kernel found too little shared memory, then layers that are not compiled. If
FlexAttention does not run at all, `FlexUnavailableError` says why, and SDPA runs in tiles. A pack that is too
large is halved: each size is compiled anew, so there are few sizes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from milepost.engine.attention_call import UnsupportedAttentionError
from milepost.engine.attention_gpu import KernelError, round_up
from milepost.engine.gpu_values import RunnerSettings
from milepost.engine.kernel_options import MIN_HEAD_SIZE, fitting_options, reason_without_kernel
from milepost.engine.memory import is_out_of_memory
from milepost.engine.pack_graphs import GraphError
from milepost.engine.reasons import kind_and_text
from milepost.errors import MilepostError

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator
    from milepost.engine.layer_shapes import LayerShape

MIN_TOKENS = 1024
"""A smaller pack that does not fit is not halved: the weights are too large for the card."""
TOO_LARGE_WORDS = ("out of resource", "shared memory", "No valid triton configs", "num_stages", "ptxas")


class FlexUnavailableError(Exception):
    """FlexAttention does not work here; the message says why in one line."""


class FlexVariants:
    """The present settings, and one-line reasons against faster ones."""

    def __init__(
        self, accelerator: Accelerator, shapes: list[LayerShape], n_tokens: int, *, graphs: bool = False
    ) -> None:
        # Smaller heads get zeros up to the smallest that the kernel takes.
        heads = max(MIN_HEAD_SIZE, *(shape.head_size for shape in shapes))
        values = max(MIN_HEAD_SIZE, *(shape.value_size for shape in shapes))
        dtype, card = shapes[0].dtype, accelerator.card
        reason = reason_without_kernel(heads, dtype, card, value_size=values)
        if reason is not None:
            raise FlexUnavailableError(reason)
        self._options = fitting_options(heads, dtype, card, value_size=values)
        self._option = 0
        self._smaller: str | None = None
        self._uncompiled: str | None = None
        self._unrecorded: str | None = None
        self._min_tokens = min(MIN_TOKENS, round_up(n_tokens))
        self.settings = RunnerSettings(
            round_up(n_tokens), round_up(1), self._options[0], compiled_layers=True, graphs=graphs
        )

    @property
    def reasons(self) -> list[str]:
        """Reasons against faster settings; empty if the present ones are the fastest."""
        return [reason for reason in (self._smaller, self._uncompiled, self._unrecorded) if reason]

    def with_context(self, n_context: int) -> None:
        """Make room for so many rows of context."""
        if round_up(n_context) > self.settings.n_context:
            self.settings = replace(self.settings, n_context=round_up(n_context))

    def step_down(self, error: Exception) -> None:
        """Take slower settings after a failure of the present ones.

        Raises:
            FlexUnavailableError: no slower settings are left.
            MilepostError, UnsupportedAttentionError: the failure itself, if no settings would help.
        """
        if isinstance(error, MilepostError | UnsupportedAttentionError):
            raise error
        if is_out_of_memory(error) and self.settings.n_tokens > self._min_tokens:
            self.settings = replace(
                self.settings, n_tokens=max(self._min_tokens, round_up(self.settings.n_tokens // 2))
            )
        elif (
            isinstance(error, KernelError)
            and any(words in str(error) for words in TOO_LARGE_WORDS)
            and self._option + 1 < len(self._options)
        ):
            self._option += 1
            self.settings = replace(self.settings, options=self._options[self._option])
            self._smaller = f"attention in smaller blocks ({self.settings.options}): {_cause(error)}"
        elif isinstance(error, GraphError):
            self.settings = replace(self.settings, graphs=False)
            self._unrecorded = f"no CUDA graphs: {_cause(error)}"
        elif (
            self.settings.compiled_layers
            and not isinstance(error, KernelError)
            and not is_out_of_memory(error)
        ):
            self.settings = replace(self.settings, compiled_layers=False)
            self._uncompiled = f"layers run uncompiled: {_cause(error)}"
        else:
            raise FlexUnavailableError(_cause(error)) from error


def _cause(error: BaseException) -> str:
    """Return the compiler's own error in one line, without its advice."""
    inner = getattr(error, "inner_exception", None) or error.__cause__
    if inner is not None and (
        isinstance(error, KernelError | GraphError) or hasattr(error, "inner_exception")
    ):
        return _cause(inner)
    return kind_and_text(error, text=str(error).split("\n\n")[0])
