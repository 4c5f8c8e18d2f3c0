"""Read what later pages need while nobody waits for a page: picks and texts of docs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from milepost.errors import ResultsError
from milepost.web.live import LiveFolders

QUIET_S = 0.3
"""Seconds since the last page was asked for after which nobody seems to wait."""


class Preparation:
    """Steps that a thread takes one at a time, each when nobody waits for a page, nor did lately.

    Readers come and go in one thread, that of the server's event loop.
    """

    def __init__(self, folders: LiveFolders) -> None:
        self._folders = folders
        self._last = time.monotonic()
        self._waiting = 0
        self._has_reader = threading.Event()

    def start(self) -> None:
        """Begin; the process may end at any time."""
        threading.Thread(target=self._run, daemon=True).start()

    @contextmanager
    def reader(self) -> Iterator[None]:
        """Take no step while a reader waits for a page."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self._last = time.monotonic()
            self._has_reader.set()

    def _run(self) -> None:
        with suppress(ResultsError):
            for step in self._steps():
                while self._waiting or time.monotonic() < self._last + QUIET_S:
                    time.sleep(QUIET_S / 4)
                step()

    def _steps(self) -> Iterator[Callable[[], object]]:
        self._has_reader.wait()
        view = self._folders.now().view
        yield partial(view.questions.histories, view.index)
        for history in view.questions.histories(view.index).found:
            yield partial(view.questions.prepare, view.index.folder, [history])
