"""Remove what killed processes left in a results folder: temporary files, leases, their files in `workers/`.

No record is removed, and no file of a process that may still run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from milepost.buckets import in_bucket
from milepost.store import file_state, listing
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import TEMPORARY
from milepost.store.folder import ResultsFolder
from milepost.store.processes import is_running, this_process
from milepost.store.workers import is_alive, live_workers

OLD_S = 3600.0
"""A file that a process of another machine has not touched for so long is left over."""


def leftovers(results: ResultsFolder) -> Iterator[Path]:
    """Yield temporary files whose process is gone; in a bucket there are none, as objects appear whole."""
    if in_bucket(results.path):
        return
    now = file_state.clock(results.path)
    for path in listing.walk(results.path):
        written = TEMPORARY.fullmatch(path.name)
        if written is not None and not _may_be_in_use(path, written, now):
            yield path


def sweep(results: ResultsFolder) -> int:
    """Remove what is left over, and return how many temporary files there were.

    Leases are removed only while no other process is at work; otherwise who needs one takes it over.
    """
    removed = 0
    for path in leftovers(results):
        inside.remove(path)
        removed += 1
    now = file_state.clock(results.path)
    for record in listing.files(results.workers_folder, "*.json"):
        if not is_alive(record.stem, record, now, OLD_S):
            inside.remove(record)
    if all(worker.process == this_process() for worker in live_workers(results)):
        for lease in listing.files(results.leases_folder, "*.*"):
            if _holder_is_gone(lease, results.workers_folder, now):
                inside.remove(lease)
    return removed


def _holder_is_gone(lease: Path, workers: Path, now: float) -> bool:
    try:
        process = inside.read_bytes(lease).decode("utf-8", "replace")
    except FileNotFoundError:
        return False
    # An empty lease: its process was killed before it wrote its name. Nobody else is at work, as a process
    # has its own record before it takes a lease.
    return not process or not is_alive(process, workers / f"{process}.json", now, OLD_S)


def _may_be_in_use(path: Path, written: re.Match[str], now: float) -> bool:
    running = is_running(written["process"])
    if running is not None:
        return running
    try:
        return now - file_state.state_of(path).modified < OLD_S
    except FileNotFoundError:
        return True  # finished and renamed meanwhile
