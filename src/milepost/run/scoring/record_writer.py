"""Write records in a thread while the device computes the next ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from milepost.store.atomic_files import write_together


class RecordWriter:
    """Writes files in the order of the calls; use as a context manager, which ends when all are written.

    Files that wait together are written together: each is synced and renamed as usual, their folder is synced
    once. An error of a file is raised by the next call, and no later file is written.
    """

    def __init__(self) -> None:
        self._waiting: list[_Task] = []
        self._changed = threading.Condition()
        self._busy = self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="milepost-records", daemon=True)

    def __enter__(self) -> RecordWriter:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        if kind is None:
            self._raise_error()

    def write(self, path: Path, content: Callable[[], bytes], then: Callable[[], None]) -> None:
        """Write `content()` to `path` on the thread, and call `then()` once the file exists.

        Raises:
            StorageError: an earlier file could not be written.
        """
        self._raise_error()
        with self._changed:
            self._waiting.append((path, content, then))
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until every file so far is on the disk.

        Raises:
            StorageError: a file could not be written.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or not (self._waiting or self._busy))
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
                batch, self._waiting = self._waiting, []
                self._busy = bool(batch)
            if not batch:
                return
            try:
                write_together([(path, content()) for path, content, _ in batch])
                for _, _, then in batch:
                    then()
            except BaseException as error:  # the thread that gave the files raises it
                self._error = error
            with self._changed:
                self._busy = False
                self._changed.notify_all()
            if self._error is not None:
                return


_Task = tuple[Path, Callable[[], bytes], Callable[[], None]]
