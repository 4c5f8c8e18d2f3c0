"""Elements of arrays: submitted, followed by their files of events, and submitted again."""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import MilepostError
from milepost.run.executors.messages import Broken, Died, Event, Joined, MetricsOrder, Order, UnitEnd
from milepost.run.executors.probe import check_joined
from milepost.run.executors.schedule import Cause
from milepost.run.executors.slurm_arrays.element import ArrayElement
from milepost.store import safe_paths as inside
from milepost.text.language import Phrase
from milepost.text.messages import one_line

POLL_S = 1.0
END_S = 30.0
"""Time that jobs have to end by themselves."""
TAKEN = frozenset({"PREEMPTED", "NODE_FAIL", "CANCELLED", "REQUEUED", "BOOT_FAIL"})
"""States of jobs that ended for a reason of the cluster's."""


@dataclass(slots=True)
class _Element:
    """A submitted element."""

    job: Any
    events: Path
    offset: int = 0
    """Bytes of its events that were read."""


class SlurmPool:
    """Elements of arrays; each is a worker that scores one unit and is then replaced by another."""

    computes_metrics = False

    def __init__(self, executor: Any, folder: Path, n_units: int) -> None:
        self.n_workers = n_units
        self._executor = executor
        self._folder = folder
        self._elements: dict[int, _Element] = {}
        self._orders: dict[int, Order] = {}
        """Given and not submitted yet."""
        self._halvings: dict[int, int] = {}
        self._joining: list[int] = []
        self._n_submitted = 0
        self.has_submitted = False
        """Whether Slurm has taken a job."""
        self._ending: list[Any] = []
        """Jobs whose unit is scored, which write their result now."""

    def __enter__(self) -> SlurmPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for what has scored its unit, and cancel the rest."""
        for element in self._elements.values():
            with contextlib.suppress(Exception):  # it has just ended
                element.job.cancel()
        until = time.monotonic() + END_S
        while time.monotonic() < until and not all(job.done() for job in self._ending):
            time.sleep(POLL_S)

    def start(self, worker: int, halvings: int) -> None:
        """Let an element join; it is submitted once it has a unit."""
        self._halvings[worker] = halvings
        self._joining.append(worker)

    def give(self, worker: int, order: Order | MetricsOrder) -> None:
        """Let an element score a unit; units that are given together become one array."""
        assert isinstance(order, Order), "see `computes_metrics`"
        self._orders[worker] = order

    def events(self, timeout_s: float) -> list[tuple[int, Event]]:
        """Return what elements tell, after waiting for at most so long."""
        self._submit()
        joined, self._joining = self._joining, []
        found: list[tuple[int, Event]] = [(worker, Joined("", 0)) for worker in joined]
        until = time.monotonic() + timeout_s
        while not found:
            for worker in list(self._elements):
                found += [(worker, event) for event in self._news(worker)]
            if found or time.monotonic() > until:
                break
            time.sleep(min(POLL_S, timeout_s))
        return found

    def kill(self, worker: int, why: str) -> None:
        """Cancel a job."""
        self._elements[worker].job.cancel()

    def describe(self, worker: int) -> str:
        """Return `job 4711_3`."""
        element = self._elements.get(worker)
        return f"job {element.job.job_id}" if element is not None else f"element {worker + 1}"

    def _submit(self) -> None:
        if not self._orders:
            return
        orders, self._orders = self._orders, {}
        folder = self._folder / "events"
        inside.make_folder(folder)
        elements = []
        for worker, order in orders.items():
            self._n_submitted += 1
            events = folder / f"{self._n_submitted}.pickle"
            elements.append(ArrayElement(self._folder, order, events, self._halvings[worker]))
        try:
            with self._executor.batch():
                jobs = [self._executor.submit(element) for element in elements]
        except Exception as error:  # submitit raises what sbatch says in several types
            raise MilepostError(
                Phrase("Slurm did not take the jobs: {error}", error=one_line(error, 300)),
                "`--dry-run` prints the script; the --slurm options set partition, account and time",
            ) from error
        self.has_submitted = True
        for worker, job, element in zip(orders, jobs, elements, strict=True):
            self._elements[worker] = _Element(job, element.events)

    def _news(self, worker: int) -> Iterator[Event]:
        """Yield the events of an element; if it ended without saying so, also that."""
        element = self._elements[worker]
        is_done = element.job.done()  # before its file is read, which is complete then
        for event in _read_events(element):
            if isinstance(event, Joined):
                check_joined(event)
                continue
            if isinstance(event, UnitEnd | Broken):
                self._ending.append(self._elements.pop(worker).job)
                is_done = False
            yield event
        if is_done:
            del self._elements[worker]
            yield death(element.job)


def _read_events(element: _Element) -> Iterator[Event]:
    """Yield the events that were added to an element's file."""
    try:
        file = element.events.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(element.offset)
        while True:
            try:
                event: Event = pickle.load(file)
            except (EOFError, pickle.UnpicklingError):
                return  # the rest is not written yet
            element.offset = file.tell()
            yield event


def death(job: Any) -> Died:
    """Say how a job ended, with the last line of its log."""
    state = str(job.state)
    try:
        lines = (job.stderr() or "").strip().splitlines()
    except OSError:
        lines = []
    last = lines[-1] if lines else "it has no log: perhaps its host does not see the results folder"
    return Died(f"{state}; {last[:200]}", Cause.TAKEN if state.split()[0] in TAKEN else Cause.ITSELF)
