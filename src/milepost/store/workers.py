"""Record which processes work on a results folder: one small file per process, touched every few seconds.

    store/workers/<process>.json      host, pid, command, which checkpoint it works on

Whether a process of this machine runs is asked of the system. A process of another machine is judged by its
file: whether that changes (`liveness`), or, for a list, how long ago it changed by the file system's clock.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import BucketError, ResultsError
from milepost.store import file_state, listing
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import read_json, write_json
from milepost.store.folder import ResultsFolder
from milepost.store.liveness import HEARTBEAT_S, STALE_S
from milepost.store.processes import is_running, is_stopped, this_process

LEFT_EVERY_S = 1.0
"""Seconds between two writes of the time left."""


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A process at work, by its file."""

    process: str
    record: Mapping[str, Any]
    stopped: bool = False
    """True if the process exists and is stopped: Ctrl-Z, SIGSTOP."""

    @property
    def left_s(self) -> float | None:
        """Seconds until the process is done, by its own estimate; None before it has one."""
        left, at = self.record.get("left_s"), self.record.get("left_at")
        if not isinstance(left, int | float) or not isinstance(at, int | float):
            return None
        return max(0.0, left - (time.time() - at))

    @property
    def since(self) -> float:
        """When it began, in seconds since 1970; 0 where its file does not say."""
        since = self.record.get("since", 0)
        return float(since) if isinstance(since, int | float) else 0.0


class Worker:
    """This process at work on a results folder; use as a context manager."""

    def __init__(self, results: ResultsFolder, asked: Mapping[str, Any]) -> None:
        self.process = this_process()
        self.path = results.worker_path(self.process)
        self._record = {
            "process": self.process,
            "host": platform.node(),
            "pid": os.getpid(),
            "since": time.time(),
            **asked,
        }
        self._where: dict[str, Any] = {}
        self._left: dict[str, float] = {}
        self._written = 0.0
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="milepost-heartbeat", daemon=True)

    def __enter__(self) -> Worker:
        write_json(self.path, self._record)
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._heart.join()
        inside.remove(self.path)

    def at(self, **where: Any) -> None:
        """Note the current work of the process, in place of what was noted before."""
        self._where = where
        self._write()

    def note_left(self, seconds: float) -> None:
        """Note how long the process needs until it is done; at most once a second is it written."""
        now = time.time()
        self._left = {"left_s": round(seconds, 1), "left_at": now}
        if now - self._written >= LEFT_EVERY_S:
            self._write()

    def _write(self) -> None:
        self._written = time.time()
        write_json(self.path, {**self._record, **self._where, **self._left})

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            try:
                inside.touch(self.path)
            except (OSError, ResultsError, BucketError):
                continue  # a missed beat costs at most a shard done twice; the run itself meets the error


def live_workers(results: ResultsFolder, now: float | None = None) -> list[WorkerRecord]:
    """Return the processes at work on `results`, this one too, the oldest first.

    Args:
        now: seconds since 1970; None for the file system's clock, to ask which a file is written.
    """
    found = []
    if now is None:
        now = file_state.clock(results.workers_folder)
    for path in listing.files(results.workers_folder, "*.json"):
        if is_alive(path.stem, path, now):
            try:
                found.append(WorkerRecord(path.stem, read_json(path), is_stopped(path.stem)))
            except ResultsError:
                continue  # it ended between the two looks
    return sorted(found, key=lambda worker: worker.since)


def is_alive(process: str, sign_of_life: Path, now: float, stale_s: float = STALE_S) -> bool:
    """Return whether a process seems to be at work, by one look; `liveness.Watch` is surer.

    Args:
        now: seconds, by the clock of the file system.
        stale_s: how old the file of a process of another machine may be.
    """
    running = is_running(process)
    if running is not None:
        return running
    try:
        return now - file_state.state_of(sign_of_life).modified < stale_s
    except FileNotFoundError:
        return False
