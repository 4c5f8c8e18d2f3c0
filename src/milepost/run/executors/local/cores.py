"""Count the cores of this machine, and divide them among workers."""

from __future__ import annotations

import os

CORES_PER_WORKER = 4
"""Of `--workers auto` on a CPU: the matrix products of small models gain little from more threads."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
