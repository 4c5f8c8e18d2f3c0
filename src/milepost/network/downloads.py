"""Count the bytes of downloads that are under way, for whoever shows them to a person."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

MEASURED_S = 1.0
"""Seconds after which the rate of a download says something."""


@dataclass(slots=True)
class Transfer:
    """Files of one checkpoint, or one file of a task's data, that are fetched."""

    what: str
    """Name for people (`hf://org/name@step-1`)."""
    total_bytes: int | None
    """None where the server does not say."""
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
        """Seconds left; None before the rate is measured, or where the total is not known."""
        rate = self.bytes_per_s
        if rate is None or self.total_bytes is None:
            return None
        return max(0, self.total_bytes - self.n_bytes) / rate


_lock = threading.Lock()
_under_way: list[Transfer] = []


@contextmanager
def counting(what: str, total_bytes: int | None) -> Iterator[Transfer]:
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


def counting_bar(transfer: Transfer) -> type:
    """Return a progress bar for huggingface_hub that shows nothing and adds bytes to a transfer."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        def __init__(self, *_: object, **options: Any) -> None:
            super().__init__(disable=True)
            self._counts = not _is_beside(options)

        def update(self, n: float | None = 1) -> None:
            if self._counts:
                transfer.add(int(n or 0))

    return Bar


def counting_bar_of_file(what: str) -> type:
    """Return a progress bar for huggingface_hub that shows nothing and is a transfer itself."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        def __init__(self, *_: object, **options: Any) -> None:
            super().__init__(disable=True)
            self._counting = counting(what, options.get("total"))
            self._transfer = None if _is_beside(options) else self._counting.__enter__()

        def update(self, n: float | None = 1) -> None:
            if self._transfer is not None:
                self._transfer.add(int(n or 0))

        def close(self) -> None:
            if self._transfer is not None:
                self._counting.__exit__(None, None, None)
                self._transfer = None

    return Bar


def _is_beside(options: dict[str, Any]) -> bool:
    """Return whether a bar counts bytes that another counts too.

    Of a file in xet there are two bars: what is put together, and beside it what is transferred.
    """
    return str(options.get("desc", "")).endswith("downloading bytes")
