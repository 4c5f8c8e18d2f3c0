"""Read what later pages need while nobody waits for a page: what is imported late, picks, texts of docs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module

from milepost.errors import ResultsError
from milepost.web.live import LiveFolders

QUIET_S = 0.3
"""Seconds since the last page was asked for after which nobody seems to wait."""
LIBRARIES = ("scipy.special", "pyarrow.parquet")
"""Imports that some pages need, and that would be most of their time."""


class Preparation:
    """Steps that a thread takes one at a time, each when no page was asked for lately."""

    def __init__(self, folders: LiveFolders) -> None:
        self._folders = folders
        self._asked = time.monotonic()
        self._has_reader = threading.Event()

    def start(self) -> None:
        """Begin; the process may end at any time."""
        threading.Thread(target=self._run, daemon=True).start()

    def page_asked(self) -> None:
        """Wait with the next step, as a reader is there who waits for a page."""
        self._asked = time.monotonic()
        self._has_reader.set()

    def _run(self) -> None:
        with suppress(ResultsError):
            for step in self._steps():
                while (left := self._asked + QUIET_S - time.monotonic()) > 0:
                    time.sleep(left)
                step()

    def _steps(self) -> Iterator[Callable[[], object]]:
        for library in LIBRARIES:
            yield partial(import_module, library)
        self._has_reader.wait()
        view = self._folders.now().view
        yield partial(view.questions.histories, view.index)
        for history in view.questions.histories(view.index).found:
            yield partial(view.questions.prepare, view.index.folder, [history])
