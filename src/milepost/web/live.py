"""Look at results folders while others write to them, and tell browsers what has changed.

The folders are looked at every half second while somebody has a page open, else when a page is asked for.
Names and times of the small records are compared, and the folders of scores that are still growing are
listed: that works on every file system, also where another machine writes and no notification comes. A look
that takes long makes the next one come later, so that looking never takes more than a twentieth of a core.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from anyio.to_thread import run_sync

from milepost.errors import ResultsError
from milepost.results.progress import read_progress
from milepost.results.questions import QuestionReader
from milepost.store.united_index import FolderIndex, open_folders
from milepost.web.page import View

logger = logging.getLogger("milepost.web")

INTERVAL_S = 0.5
MOST_OF_A_CORE = 0.05
"""The most of a core's time that looking may take."""
KEEP_ALIVE_S = 15.0
"""After so long without an event a comment is sent, so that nobody on the way closes the connection."""


class Moment:
    """The folders as they were at one look; numbers tell whether two moments differ."""

    def __init__(self, view: View, records: int, shards: int) -> None:
        self.view = view
        self.records = records
        """Raised with each change of the metrics."""
        self.shards = shards
        """Raised with each change of the progress as well."""


class LiveFolders:
    """Results folders, looked at not more often than every `INTERVAL_S`; may be used by several threads.

    Args:
        folders: at least one.
        baselines: the file of published scores.
    """

    def __init__(self, folders: Sequence[Path], baselines: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._questions = QuestionReader()
        self._baselines = baselines
        self._moment = Moment(self._view(open_folders(folders)), 1, 1)
        self._next_look = time.monotonic() + INTERVAL_S

    def now(self) -> Moment:
        """Return the folders as they are, or were less than `INTERVAL_S` ago.

        Raises:
            ResultsError: one is no results folder any more.
        """
        with self._lock:
            began = time.monotonic()
            if began >= self._next_look:
                self._look()
                took = time.monotonic() - began
                self._next_look = began + max(INTERVAL_S, took / MOST_OF_A_CORE)
            return self._moment

    def _look(self) -> None:
        before = self._moment
        view = self._view(before.view.index.refreshed())
        records = before.records + (view.index is not before.view.index)
        if records != before.records or view.progress != before.view.progress:
            self._moment = Moment(view, records, before.shards + 1)

    def _view(self, index: FolderIndex) -> View:
        return View(
            index=index,
            progress=read_progress(index),
            questions=self._questions,
            baselines=self._baselines,
        )


class Events:
    """Tells every open page of changes; looks at the folders as long as there is one.

    An event says the number of the records, which a page compares with its own, and the progress as HTML. It
    is made once for all readers of a language.
    """

    def __init__(self, folders: LiveFolders, shown: Callable[[Moment, str], str]) -> None:
        """Make the events of some folders; `shown` gives the progress as HTML in a language."""
        self._folders = folders
        self._shown = shown
        self._readers: Counter[str] = Counter()
        """By language."""
        self._made: dict[str, bytes] = {}
        """By language: the newest event."""
        self._changed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._ended = False

    async def stream(self, language: str) -> AsyncIterator[bytes]:
        """Yield server-sent events, the present state first, until the server ends."""
        self._readers[language] += 1
        try:
            if self._looking is None or self._looking.done():
                self._made.clear()
                self._looking = asyncio.create_task(self._look())
            if language not in self._made:
                moment = await run_sync(self._folders.now)
                self._made[language] = await run_sync(self._event, moment, language)
            sent = b""
            while not self._ended:
                changed = self._changed
                if self._made[language] != sent:
                    sent = self._made[language]
                    yield sent
                while not changed.is_set():
                    try:
                        await asyncio.wait_for(changed.wait(), KEEP_ALIVE_S)
                    except asyncio.TimeoutError:
                        yield b": still here\n\n"
        finally:
            self._readers[language] -= 1

    def end(self) -> None:
        """Let all streams end, as the server is about to."""
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        told, self._changed = self._changed, asyncio.Event()
        told.set()

    async def _look(self) -> None:
        seen = -1
        while self._readers.total() and not self._ended:
            try:
                moment = await run_sync(self._folders.now)
            except ResultsError as error:
                logger.warning("%s", error)
                await asyncio.sleep(KEEP_ALIVE_S)
                continue
            if moment.shards != seen:
                seen = moment.shards
                for language in [language for language, n in self._readers.items() if n]:
                    self._made[language] = await run_sync(self._event, moment, language)
                self._tell()
            await asyncio.sleep(INTERVAL_S / 2)

    def _event(self, moment: Moment, language: str) -> bytes:
        shown = self._shown(moment, language)
        data = {"records": moment.records, "shards": moment.shards, "progress": shown}
        return f"data: {json.dumps(data)}\n\n".encode()
