"""Workers on this machine: one process per GPU, or per share of the CPU's cores."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from milepost.plan.plan_files import save_plan
from milepost.run.context import RunContext
from milepost.run.executors.driver import Driver
from milepost.run.executors.messages import Died, Event, Order
from milepost.run.executors.oom_kills import count_oom_kills
from milepost.run.executors.worker import WorkerSetup, setup_of, unit_scorer
from milepost.run.jobs import CheckpointJob
from milepost.run.preparation import Preparation
from milepost.run.progress import Progress
from milepost.store.leases import Leases
from milepost.store.workers import Worker

STOP_S = 10.0
"""Time that a worker has to end by itself."""
PRELOADED = "milepost.run.executors.preloaded"


@dataclass(frozen=True, slots=True)
class Place:
    """The device and the threads of a worker."""

    device: str
    threads: int
    """Threads of one operation on the CPU."""
    gpu: str | None = None
    """The entry of CUDA_VISIBLE_DEVICES; None on a CPU."""


class LocalWorkers:
    """The executor with workers on this machine."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places

    def run(
        self,
        jobs: Sequence[CheckpointJob],
        context: RunContext,
        worker: Worker,
        leases: Leases,
        progress: Progress,
    ) -> None:
        """Do every job. Raises as `Executor.run`."""
        with _shared_plans(context.preparation) as plans:
            setup = setup_of(context.config, context.preparation, plans)
            pool = LocalPool(setup, self._places)
            Driver(context, pool, leases, progress).run(jobs)


@contextlib.contextmanager
def _shared_plans(preparation: Preparation) -> Iterator[dict[str, Path]]:
    """Yield, by plan id, a folder with each plan as files that workers map into memory."""
    with tempfile.TemporaryDirectory(prefix="milepost-plans-", ignore_cleanup_errors=True) as folder:
        where = {plan.plan_id: Path(folder) / plan.plan_id for plan in preparation.plans}
        for plan in preparation.plans:
            save_plan(plan, where[plan.plan_id], None)
        yield where


@dataclass(slots=True)
class _Process:
    """A worker's process and our end of the pipe to it."""

    process: Any
    """multiprocessing's process; its class depends on the platform."""
    pipe: Connection
    oom_kills: int | None
    """Kills for lack of memory on this machine when it was started."""


class LocalPool:
    """Worker processes that are forked from a server with torch imported, where the system can do that."""

    def __init__(self, setup: WorkerSetup, places: Sequence[Place]) -> None:
        self._setup = setup
        self._places = places
        self._processes: dict[int, _Process] = {}
        # Linux alone: system libraries of macOS do not survive a fork, and Windows has none.
        self._start: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        if sys.platform == "linux":
            self._start.set_forkserver_preload([PRELOADED])

    def __enter__(self) -> LocalPool:
        for number in range(len(self._places)):
            self._begin(number, 0)
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

    def give(self, worker: int, order: Order) -> None:
        """Let a worker score a unit."""
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

    def replace(self, worker: int, halvings: int) -> None:
        """Start another worker in the place of one that died."""
        self._begin(worker, halvings)

    def describe(self, worker: int) -> str:
        """Return `worker 2`."""
        return f"worker {worker + 1}"

    def _begin(self, number: int, halvings: int) -> None:
        ours, theirs = self._start.Pipe()
        arguments = (theirs, self._setup, self._places[number], halvings)
        process = self._start.Process(target=_work, args=arguments, name=f"milepost-worker-{number + 1}")
        with _unseen_main():
            process.start()
        theirs.close()
        self._processes[number] = _Process(process, ours, count_oom_kills())

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
        return _death(pid, code, one.oom_kills)


def _death(pid: int, code: int | None, oom_kills_before: int | None) -> Died:
    """Say how a process ended, and whether it was killed from outside."""
    if code is None:
        return Died(f"process {pid} closed its pipe")
    if code >= 0:
        return Died(f"process {pid} ended with status {code}")
    how = f"process {pid} was killed by {signal.Signals(-code).name}"
    if -code != signal.SIGKILL or oom_kills_before is None:
        return Died(how)
    if (count_oom_kills() or 0) > oom_kills_before:
        return Died(f"{how}, as memory ran out")
    return Died(f"{how} from outside; the system has not run out of memory", from_outside=True)


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


def _work(pipe: Connection, setup: WorkerSetup, place: Place, halvings: int) -> None:
    """Score what comes through the pipe until it says None or is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the driver ends this one
    if place.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = place.gpu
    import torch

    torch.set_num_threads(place.threads)
    orders = _Orders(pipe)
    setup = replace(setup, config=replace(setup.config, device=place.device))
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock, contextlib.suppress(OSError):  # the driver is gone: `_Orders` ends this process
            pipe.send(event)

    with unit_scorer(setup, tell, halvings) as scorer:
        while (order := orders.next()) is not None:
            scorer.score(order)


class _Orders:
    """Reads orders in a thread, which ends the process at once when the driver is gone."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._waiting: list[Order | None] = []
        self._came = threading.Condition()
        threading.Thread(target=self._read, name="milepost-orders", daemon=True).start()

    def next(self) -> Order | None:
        """Wait for the next order; None for the end."""
        with self._came:
            self._came.wait_for(lambda: bool(self._waiting))
            return self._waiting.pop(0)

    def _read(self) -> None:
        while True:
            try:
                order = self._pipe.recv()
            except (EOFError, OSError):
                os._exit(1)
            with self._came:
                self._waiting.append(order)
                self._came.notify()
            if order is None:
                return
