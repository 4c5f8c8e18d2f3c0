"""Find the checkpoint that needs help most."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from milepost.run.executors.schedule.checkpoint_work import CheckpointWork


class MostLeft:
    """Open checkpoints by the tokens that nobody has taken."""

    def __init__(self, checkpoints: Mapping[int, CheckpointWork]) -> None:
        self._checkpoints = checkpoints
        self._heap: list[tuple[int, int]] = []
        """(minus pending tokens, checkpoint); an entry may be out of date."""

    def changed(self, checkpoint: int) -> None:
        """Note that what is pending of a checkpoint has changed."""
        one = self._checkpoints[checkpoint]
        if one.pending and one.is_open:
            heapq.heappush(self._heap, (-one.tokens, checkpoint))

    def top(self) -> int | None:
        """Return the checkpoint with most left; None if nothing is."""
        while self._heap:
            rest, checkpoint = self._heap[0]
            one = self._checkpoints[checkpoint]
            if one.pending and -rest == one.tokens:
                return checkpoint
            heapq.heappop(self._heap)  # out of date: every change has added an entry of its own
        return None
