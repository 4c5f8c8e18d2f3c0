"""Watch whether a process that holds a lease is still alive.

A process touches its file in `workers/` every few seconds. A change of the file is the sign of life; its age
proves nothing, as clocks of machines differ and are set back. So a process counts as gone when it has ended
(which its own machine can tell), or when it was watched for a while and its file did not change: it was
stopped (Ctrl-Z), its container paused, or its machine is gone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from milepost.store import file_state
from milepost.store.processes import PROCESS_NAME, is_running, is_stopped

HEARTBEAT_S = 10.0
STALE_S = 60.0
"""A process that was watched for so long without a sign of life counts as gone."""
STOPPED_S = 5.0
"""The same for a process of this machine that is stopped: it cannot go on by itself."""

logger = logging.getLogger("milepost.store")


@dataclass(slots=True)
class _Seen:
    sign: file_state.FileState | None
    """When the file was touched last, by its own clock, and its size; None without a file."""
    since: float
    """When it was first seen like this, by this process's clock."""
    told: bool = False


class Watch:
    """Observations of the other processes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def moves(self, process: str, sign_of_life: Path, unit: str = "") -> bool:
        """Return whether a process seems to work on; log a warning, once, about one that does not.

        Args:
            sign_of_life: a file that it touches.
            unit: the unit that it holds, for the message.
        """
        running = is_running(process)
        if running is False:
            return False
        now, sign = self._clock(), _sign(sign_of_life)
        seen = self._seen.get(process)
        if seen is None or seen.sign != sign:
            seen = self._seen[process] = _Seen(sign, now)
        stopped = bool(running) and is_stopped(process)
        still = now - seen.since
        if still < (STOPPED_S if stopped else STALE_S):
            return True
        if not seen.told:
            seen.told = True
            why = "is stopped (Ctrl-Z?)" if stopped else f"has not moved for {still:.0f} s"
            named = PROCESS_NAME.fullmatch(process)
            who = f"{named[1]} ({process})" if named else process
            logger.warning("process %s %s; what it holds is taken over%s", who, why, unit and f": {unit}")
        return False


def _sign(path: Path) -> file_state.FileState | None:
    try:
        return file_state.state_of(path)
    except OSError:
        return None
