"""Forward passes recorded once as CUDA graphs and replayed, where kernels take less time than their launch.

Everything a pass reads lies where it lay when it was recorded: the pack, by the runner's own buffers, and the
context, in one of three sets of keys and values that take turns. Three, because a pack may have to be run
again while the next one is under way, and still needs what it read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator, Recorded
    from milepost.engine.attention_gpu import Context

SETS = 3


class GraphError(Exception):
    """A forward pass could not be recorded."""


class _Pass(NamedTuple):
    above: int | None
    below: int


class PackGraphs:
    """One recording for each pair of sets that a pass reads and writes."""

    def __init__(
        self, accelerator: Accelerator, empty: Callable[[], Context], forward: Callable[..., torch.Tensor]
    ) -> None:
        """Make the sets.

        Args:
            empty: gives keys and values of a context to be written to.
            forward: runs the pack that is in place with `(above, below)`, two contexts of which the first may
                be None, writes the second in place, and returns hidden states.
        """
        self._accelerator = accelerator
        self._forward = forward
        self._sets = [empty() for _ in range(SETS)]
        self._recorded: dict[_Pass, Recorded] = {}
        self._turn = 0
        self._is_warm = False

    def run(self, above: Context | None) -> tuple[torch.Tensor, Context]:
        """Hidden states of the pack that is in place, good until the next run, and the context below it.

        Raises:
            GraphError: the pass cannot be recorded.
        """
        self._turn = (self._turn + 1) % SETS
        one = _Pass(self._number_of(above), self._turn)
        below = self._sets[one.below]
        read = None if one.above is None else self._sets[one.above]
        if not self._is_warm:
            # What is compiled, and tuned, at the first run cannot be recorded.
            self._is_warm = True
            return self._forward(read, below), below
        if one not in self._recorded:
            try:
                self._recorded[one] = self._accelerator.record(lambda: self._forward(read, below))
            except RuntimeError as error:
                raise GraphError(str(error)) from error
        return self._recorded[one].replay(), below

    def _number_of(self, context: Context | None) -> int | None:
        """Which of the sets a context is; one that is none is copied into the set before this turn's."""
        if context is None:
            return None
        for number, own in enumerate(self._sets):
            if own is context:
                return number
        number = (self._turn - 1) % SETS
        for (key, value), (new_key, new_value) in zip(self._sets[number], context, strict=True):
            key.copy_(new_key)
            value.copy_(new_value)
        return number
