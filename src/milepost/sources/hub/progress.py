"""Count the bytes of downloads that are under way, for whoever shows them to a person."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MEASURED_S = 1.0
"""Seconds after which the rate of a download says something."""


@dataclass(slots=True)
class Transfer:
    """Files of one checkpoint that are fetched."""

    what: str
    """Name for people (`hf://org/name@step-1`)."""
    total_bytes: int
    began: float
    n_bytes: int = 0

    def add(self, n_bytes: int) -> None:
        """Count bytes that have arrived; several threads may do so."""
        with _lock:
            self.n_bytes += n_bytes

    @property
    def bytes_per_s(self) -> float | None:
        """The rate so far; None before it is measured."""
        passed_s = time.monotonic() - self.began
        return self.n_bytes / passed_s if passed_s >= MEASURED_S and self.n_bytes else None

    @property
    def left_s(self) -> float | None:
        """Seconds left; None before the rate is measured."""
        rate = self.bytes_per_s
        return None if rate is None else max(0, self.total_bytes - self.n_bytes) / rate


_lock = threading.Lock()
_under_way: list[Transfer] = []


@contextmanager
def counting(what: str, total_bytes: int) -> Iterator[Transfer]:
    """Count a download while it lasts; it is among the `downloads`."""
    download = Transfer(what, total_bytes, time.monotonic())
    with _lock:
        _under_way.append(download)
    try:
        yield download
    finally:
        with _lock:
            _under_way.remove(download)


def downloads() -> tuple[Transfer, ...]:
    """Return the downloads that are under way."""
    with _lock:
        return tuple(_under_way)
