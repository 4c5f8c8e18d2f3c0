"""Callbacks invoked when a checkpoint's metrics are stored: recorders, pictures, `--exec`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from milepost.store import ResultsFolder
from milepost.store.leases import Leases
from milepost.types.checkpoints import Checkpoint


class RunCallback(Protocol):
    """An object whose methods run on the main thread, after the metrics are stored."""

    def begin(self, results: ResultsFolder, leases: Leases) -> None:
        """Prepare; the results folder exists, and `leases` says which of several processes does what."""

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None:
        """Use the metrics of a checkpoint for that plan, computed now or by an earlier run."""

    def end(self) -> None:
        """Finish: the run is over or interrupted."""


class NoCallback:
    """Does nothing."""

    def begin(self, results: ResultsFolder, leases: Leases) -> None: ...

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None: ...

    def end(self) -> None: ...


class CallbackList:
    """Calls several callbacks, in their order."""

    def __init__(self, callbacks: Sequence[RunCallback]) -> None:
        self._callbacks = tuple(callbacks)

    def begin(self, results: ResultsFolder, leases: Leases) -> None:
        for callback in self._callbacks:
            callback.begin(results, leases)

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None:
        for callback in self._callbacks:
            callback.metrics_stored(plan_id, checkpoint)

    def end(self) -> None:
        for callback in self._callbacks:
            callback.end()


@contextmanager
def begun(callback: RunCallback, results: ResultsFolder, leases: Leases) -> Iterator[None]:
    """Begin a callback, and end it however the block ends."""
    callback.begin(results, leases)
    try:
        yield
    finally:
        callback.end()
