"""Count the processes that Linux has killed because memory ran out."""

from __future__ import annotations

from pathlib import Path

_COUNTERS = Path("/proc/vmstat")


def count_oom_kills() -> int | None:
    """Return the number since the machine was started; None where the system does not count them."""
    try:
        lines = _COUNTERS.read_text("ascii").splitlines()
    except OSError:
        return None
    counts = dict(line.split() for line in lines)
    return int(counts["oom_kill"]) if "oom_kill" in counts else None
