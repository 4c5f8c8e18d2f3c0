"""Worker processes of this machine: started, listened to, replaced and ended."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from milepost.run.executors.local import process as worker_process
from milepost.run.executors.local.deaths import count_oom_kills, death
from milepost.run.executors.local.places import Place
from milepost.run.executors.messages import Died, Event, MetricsOrder, Order
from milepost.run.executors.worker_setup import WorkerSetup

STOP_S = 10.0
"""Time that a worker has to end by itself."""
PRELOADED = "milepost.run.executors.local.preloaded"


@dataclass(slots=True)
class _Process:
    """A worker's process and our end of the pipe to it."""

    process: Any
    """multiprocessing's process; its class depends on the platform."""
    pipe: Connection
    oom_kills: int | None
    """Kills for lack of memory on this machine when it was started."""
    killed_for: str | None = None
    """Why we killed it."""


class LocalPool:
    """Worker processes that are forked from a server with torch imported, where the system can do that."""

    computes_metrics = True

    def __init__(self, setup: WorkerSetup, places: Sequence[Place]) -> None:
        self.n_workers = len(places)
        self._setup = setup
        self._places = places
        self._processes: dict[int, _Process] = {}
        # Linux alone: system libraries of macOS do not survive a fork, and Windows has none.
        self._multiprocessing: Any = multiprocessing.get_context(
            "forkserver" if sys.platform == "linux" else "spawn"
        )
        if sys.platform == "linux":
            self._multiprocessing.set_forkserver_preload([PRELOADED])

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let the workers end, or end them: none outlives the run."""
        for one in self._processes.values():
            with contextlib.suppress(OSError, ValueError):
                one.pipe.send(None)
            one.pipe.close()
        until = time.monotonic() + (STOP_S if kind is None else 0.0)
        for one in self._processes.values():
            one.process.join(max(0.0, until - time.monotonic()))
            if one.process.is_alive():
                one.process.kill()
            one.process.join()
            one.process.close()
        self._processes.clear()

    def start(self, worker: int, halvings: int) -> None:
        """Start the process of a worker."""
        ours, theirs = self._multiprocessing.Pipe()
        process = self._multiprocessing.Process(
            target=worker_process.work,
            args=(theirs, self._setup, self._places[worker], halvings),
            name=f"milepost-worker-{worker + 1}",
        )
        with _unseen_main():
            process.start()
        theirs.close()
        self._processes[worker] = _Process(process, ours, count_oom_kills())

    def give(self, worker: int, order: Order | MetricsOrder) -> None:
        """Let a worker score a unit, or compute metrics."""
        with contextlib.suppress(OSError):  # it has died, which `events` tells
            self._processes[worker].pipe.send(order)

    def events(self, timeout_s: float) -> list[tuple[int, Event]]:
        """Return what workers tell, after waiting for at most so long."""
        number_of: dict[Any, int] = {one.pipe: number for number, one in self._processes.items()}
        found: list[tuple[int, Event]] = []
        pipes: list[Any] = wait(list(number_of), timeout_s)
        for pipe in pipes:
            number = number_of[pipe]
            try:
                while pipe.poll():
                    found.append((number, pipe.recv()))
            except (EOFError, OSError):
                found.append((number, self._end(number)))
        return found

    def kill(self, worker: int, why: str) -> None:
        """Kill a process, also one that is stopped; the end of its pipe tells `events`."""
        one = self._processes[worker]
        one.killed_for = why
        one.process.kill()

    def describe(self, worker: int) -> str:
        """Return `worker 2`."""
        return f"worker {worker + 1}"

    def _end(self, number: int) -> Died:
        """Say how a worker ended whose pipe is closed."""
        one = self._processes.pop(number)
        one.pipe.close()
        one.process.join(STOP_S)
        code, pid = one.process.exitcode, one.process.pid
        if code is None:
            one.process.kill()
            one.process.join()
        one.process.close()
        if one.killed_for is not None:
            return Died(f"process {pid} {one.killed_for}, and was killed")
        return death(pid, code, one.oom_kills)


@contextlib.contextmanager
def _unseen_main() -> Iterator[None]:
    """Hide the main module and the current folder from processes that are started meanwhile.

    A worker needs neither, and a user's script without `if __name__ == "__main__"` would run once more.
    """
    main, safe = sys.modules["__main__"], os.environ.get("PYTHONSAFEPATH")
    sys.modules["__main__"] = types.ModuleType("__main__")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if safe is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = safe
