"""Forward passes recorded as CUDA graphs and replayed, for kernels that are shorter than their launch.

Everything that a pass reads stays at the address it had when the pass was recorded: the pack in the runner's
buffers, the context in one of three sets of keys and values that take turns. Three, because a pack may have
to run again while the next one is under way, and then still needs its context.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator, RecordedWork
    from milepost.engine.gpu_values import Context

SETS = 3


class GraphError(Exception):
    """A forward pass could not be recorded."""


class _Pass(NamedTuple):
    above: int | None
    below: int


class PackGraphs:
    """Recordings for each pair of sets that a pass reads and writes."""

    def __init__(
        self, accelerator: Accelerator, empty: Callable[[], Context], forward: Callable[..., torch.Tensor]
    ) -> None:
        """Make the sets.

        Args:
            empty: returns a context to be written to.
            forward: takes `(above, below)`, two contexts of which the first may be None; runs the loaded
                pack, writes the second context in place and returns hidden states.
        """
        self._accelerator = accelerator
        self._forward = forward
        self._sets = [empty() for _ in range(SETS)]
        self._recorded: dict[_Pass, RecordedWork] = {}
        self._turn = 0
        self._is_warm = False

    def run(self, above: Context | None) -> tuple[torch.Tensor, Context]:
        """Return the hidden states of the loaded pack, valid until the next run, and the context below it.

        Raises:
            GraphError: the pass cannot be recorded.
        """
        self._turn = (self._turn + 1) % SETS
        sets = _Pass(self._number_of(above), self._turn)
        below = self._sets[sets.below]
        read = None if sets.above is None else self._sets[sets.above]
        if not self._is_warm:
            # The first run compiles and tunes, which cannot be recorded.
            self._is_warm = True
            return self._forward(read, below), below
        if sets not in self._recorded:
            try:
                self._recorded[sets] = self._accelerator.record(lambda: self._forward(read, below))
            except RuntimeError as error:
                raise GraphError(str(error)) from error
        return self._recorded[sets].replay(), below

    def _number_of(self, context: Context | None) -> int | None:
        """Return the number of a context's set; another context is copied into the last turn's set."""
        if context is None:
            return None
        for number, keys_and_values in enumerate(self._sets):
            if keys_and_values is context:
                return number
        number = (self._turn - 1) % SETS
        for (key, value), (new_key, new_value) in zip(self._sets[number], context, strict=True):
            key.copy_(new_key)
            value.copy_(new_value)
        return number
