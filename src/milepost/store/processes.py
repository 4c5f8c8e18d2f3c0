"""Name processes so that the name stays unique after their end, and tell whether one still runs.

The name holds the machine (since its start, and within its container), the process number and the moment when
the process began, so a number that is used again is not taken for the earlier process.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
from pathlib import Path

PROCESS_NAME = re.compile(r"[0-9a-f]{8}-(\d+)-(\d+)")
_PROC = Path("/proc")
_STATE, _START_TICKS = 0, 19
"""Fields of /proc/PID/stat after the command's name; proc(5) counts them 3 and 22."""


def this_process() -> str:
    """Return the name of this process: `<machine>-<pid>-<start>`, letters, digits and dashes."""
    pid = os.getpid()
    found = _stat(pid)
    return f"{_machine()}-{pid}-{found[1] if found else 0}"


def is_running(process: str) -> bool | None:
    """Return whether the process of that name runs; None if only its own machine can say."""
    parsed = PROCESS_NAME.fullmatch(process)
    if parsed is None or not process.startswith(f"{_machine()}-"):
        return None
    pid, start = int(parsed[1]), int(parsed[2])
    if _PROC.joinpath("self", "stat").exists():
        found = _stat(pid)
        return found is not None and found[0] not in "ZX" and found[1] == start
    return _answers(pid)


def is_stopped(process: str) -> bool:
    """Return whether a process of this machine is stopped (SIGSTOP, Ctrl-Z, a debugger)."""
    parsed = PROCESS_NAME.fullmatch(process)
    if parsed is None or not process.startswith(f"{_machine()}-"):
        return False
    found = _stat(int(parsed[1]))
    return found is not None and found[1] == int(parsed[2]) and found[0] in "Tt"


def _answers(pid: int) -> bool | None:
    if os.name == "nt":
        return None  # signal 0 would end the process there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _stat(pid: int) -> tuple[str, int] | None:
    """Return state and start (clock ticks since boot); None without such a process or /proc."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[_STATE], int(fields[_START_TICKS])


@functools.cache
def _machine() -> str:
    parts = [platform.node()]
    for path in (_PROC / "sys/kernel/random/boot_id", _PROC / "self/ns/pid"):
        try:
            parts.append(os.readlink(path) if path.is_symlink() else path.read_text().strip())
        except OSError:
            parts.append("")  # not Linux: the machine's name has to do
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
