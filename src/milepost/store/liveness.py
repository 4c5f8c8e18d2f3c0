"""Whether a process that holds something still moves, by what this process itself has watched.

A process touches its file in `workers/` every few seconds. That the file changes is the sign of life; how old
it is by anybody's clock proves nothing, as clocks of machines differ and are set back. So a process counts as
gone when it has ended (which its own machine can tell), or when it was watched for a while and did not move:
it was stopped (Ctrl-Z), its container paused, or its machine is gone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from milepost.store.processes import PROCESS_NAME, is_running, is_stopped

HEARTBEAT_S = 10.0
STALE_S = 60.0
"""Watched for so long without a sign of life, a process counts as gone."""
STOPPED_S = 5.0
"""Likewise one of this machine that is stopped: it cannot move before it is told to."""

logger = logging.getLogger("milepost.store")


@dataclass(slots=True)
class _Seen:
    sign: tuple[int, int] | None
    """When the file was touched last, by whatever clock, and its size; None where there is none."""
    since: float
    """When it was first seen like this, by this process's own clock."""
    told: bool = False


class Watch:
    """What one process has seen of the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def moves(self, process: str, sign_of_life: Path, unit: str = "") -> bool:
        """Whether a process works on, as far as can be told by now; one that does not is named, once.

        Args:
            sign_of_life: a file that it touches.
            unit: what it holds, for the message.
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


def _sign(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
