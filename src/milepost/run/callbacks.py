"""Who wants to know, while a run goes on, that a checkpoint has figures: the recorders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from milepost.store import ResultsFolder
from milepost.store.leases import Leases
from milepost.types import Checkpoint


class RunCallback(Protocol):
    """Told in the run's main thread; what is to be known of the figures is in the store by then."""

    def begin(self, results: ResultsFolder, leases: Leases) -> None:
        """The results folder is there; `leases` says which of several processes does what."""

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None:
        """The checkpoint has its figures for that plan, computed now or found in the store."""

    def end(self) -> None:
        """No more come, the run being done or interrupted."""


class NoCallback:
    """Listens to nothing."""

    def begin(self, results: ResultsFolder, leases: Leases) -> None:
        """Nothing to prepare."""

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None:
        """Nothing to do."""

    def end(self) -> None:
        """Nothing to end."""


class CallbackList:
    """Tells all of its listeners, in their order."""

    def __init__(self, listeners: Sequence[RunCallback]) -> None:
        self._listeners = tuple(listeners)

    def begin(self, results: ResultsFolder, leases: Leases) -> None:
        for listener in self._listeners:
            listener.begin(results, leases)

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None:
        for listener in self._listeners:
            listener.metrics_stored(plan_id, checkpoint)

    def end(self) -> None:
        for listener in self._listeners:
            listener.end()
