"""Count the CPU cores that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return the number of cores that this process may use: by its affinity, and by its control groups."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # A container with 1.5 cores of time has work for two threads.
    return max(1, min([allowed, *map(math.ceil, _shares())]))


def _shares() -> Iterator[float]:
    """Yield the limit, in cores, of each control group that this process is in (Linux, version 1 or 2)."""
    try:
        lines = MEMBERSHIP.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A limit may be set on any group above. In a container the path may be the host's, and only the
        # mount's root, which is the container's own group, is there.
        group = PurePosixPath(path.lstrip("/"))
        for one in (group, *group.parents):
            share = _share_v1(CGROUPS / "cpu" / one) if controllers else _share_v2(CGROUPS / one)
            if share is not None:
                yield share


def _share_v2(group: Path) -> float | None:
    """Return the limit in `cpu.max`, as in `150000 100000`: microseconds of each period."""
    try:
        quota, period = (group / "cpu.max").read_text("ascii").split()
        return int(quota) / int(period) if quota != "max" else None
    except (OSError, ValueError):
        return None


def _share_v1(group: Path) -> float | None:
    """Return the limit of a group of version 1; -1 means none."""
    try:
        quota, period = (
            int((group / f"cpu.cfs_{name}_us").read_text("ascii")) for name in ("quota", "period")
        )
        return quota / period if quota > 0 and period > 0 else None
    except (OSError, ValueError):
        return None
