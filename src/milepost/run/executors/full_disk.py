"""Wait while the disk of the results folder is full: another program may free space in a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from milepost.errors import MilepostError, StorageError
from milepost.run.display.journal import AT_ONCE

PATIENCE_S = 300.0
"""How long a run with workers waits for space before it ends."""
LOOK_AGAIN_S = 2.0

logger = logging.getLogger("milepost.run")


class FullDisk:
    """Remembers since when the disk is full, and says so once."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._until = 0.0

    @property
    def is_waiting(self) -> bool:
        """Return whether it is too early to try again."""
        return time.monotonic() < self._until

    def met(self, error: MilepostError) -> None:
        """Note that something could not be written; raise the error if that has been so for long."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            logger.warning(
                "%s; waiting for space, for %.0f min at most", error.message, PATIENCE_S / 60, extra=AT_ONCE
            )
        if now - self._since > PATIENCE_S:
            raise error
        self._until = now + LOOK_AGAIN_S

    def has_room(self) -> None:
        """Note that something could be written."""
        self._since = None

    def until_written(self, write: Callable[[], None]) -> None:
        """Call `write` until the disk has room for what it writes.

        Raises:
            StorageError: the disk stayed full, or the folder cannot be written for another reason.
        """
        while True:
            try:
                write()
                return
            except StorageError as error:
                if not error.is_full:
                    raise
                self.met(error)
                time.sleep(LOOK_AGAIN_S)
