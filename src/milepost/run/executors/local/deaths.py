"""Say how a process ended, and whether the system killed it because memory ran out."""

from __future__ import annotations

import signal
from pathlib import Path

from milepost.run.executors.messages import Died
from milepost.run.executors.schedule import Cause

_COUNTERS = Path("/proc/vmstat")


def count_oom_kills() -> int | None:
    """Return the kills for lack of memory since this machine was started; None where Linux does not count."""
    try:
        lines = _COUNTERS.read_text("ascii").splitlines()
    except OSError:
        return None
    counts = dict(line.split() for line in lines)
    return int(counts["oom_kill"]) if "oom_kill" in counts else None


def death(pid: int, code: int | None, oom_kills_before: int | None) -> Died:
    """Say how a process ended.

    Args:
        code: its exit code, negative for a signal; None if it had not ended yet.
        oom_kills_before: `count_oom_kills` when it was started.
    """
    if code is None:
        return Died(f"process {pid} closed its pipe")
    if code >= 0:
        return Died(f"process {pid} ended with status {code}")
    how = f"process {pid} was killed by {signal.Signals(-code).name}"
    if -code != signal.SIGKILL:
        return Died(how)
    if oom_kills_before is not None and (count_oom_kills() or 0) > oom_kills_before:
        return Died(f"{how}, as memory ran out")
    return Died(f"{how}, from outside or for its memory", Cause.KILLED)
