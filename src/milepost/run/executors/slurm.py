"""Workers in Slurm's job arrays, submitted through submitit: an element of an array scores one unit.

All units are cut at the beginning and submitted as one array, since a job may wait in the queue for hours.
What is left of elements that failed is submitted again. Slurm requeues elements that are preempted; these
continue where their records end.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.buckets import in_bucket
from milepost.errors import MilepostError
from milepost.language import Phrase
from milepost.plan.plan_files import save_plan
from milepost.run.config import EvalConfig
from milepost.run.context import RunContext
from milepost.run.executors.driver import Driver
from milepost.run.executors.messages import (
    Broken,
    Died,
    Event,
    Joined,
    NoRoom,
    Order,
    Refused,
    UnitStored,
)
from milepost.run.executors.probe import check_joined, probe_file
from milepost.run.executors.units import Schedule
from milepost.run.executors.worker import setup_of, unit_scorer
from milepost.run.jobs import CheckpointJob
from milepost.run.model_memory import memory_needed
from milepost.run.progress import Progress
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import write_atomically
from milepost.store.leases import Leases
from milepost.store.workers import Worker

CLUSTER = "MILEPOST_SUBMITIT_CLUSTER"
"""Environment variable: `local` runs the array as processes of this machine, to try it without Slurm."""
MOST_ELEMENTS = 64
"""Elements of an array that run at a time, unless --workers says otherwise."""
TARGET_S = 1800.0
"""Seconds of scoring in a unit: an element waits in a queue before it begins."""
POLL_S = 1.0
END_S = 30.0
"""Time that jobs have to end by themselves."""
TAKEN = frozenset({"PREEMPTED", "NODE_FAIL", "CANCELLED", "REQUEUED", "BOOT_FAIL"})
"""States of jobs that ended for a reason of the cluster's."""
STARTED_BY_SUBMITIT = "python -u -m submitit.core._submit {folder}"


class SlurmArrays:
    """The executor with workers in Slurm's job arrays."""

    def __init__(self, config: EvalConfig) -> None:
        self._config = config
        _check_place(config.output_path)
        if os.environ.get(CLUSTER) != "local" and shutil.which("sbatch") is None:
            raise MilepostError(
                "there is no Slurm here: sbatch was not found",
                "run this on a login node; --dry-run prints the script of the jobs anywhere",
            )
        _import_submitit()

    def run(
        self,
        jobs: Sequence[CheckpointJob],
        context: RunContext,
        worker: Worker,
        leases: Leases,
        progress: Progress,
    ) -> None:
        """Do every job. Raises as `Executor.run`."""
        folder = context.results.path / "slurm" / time.strftime("%Y%m%dT%H%M%S")
        left = [job for job in jobs if job.missing]
        with probe_file(context.results) as token:
            plans = {plan.plan_id: plan for plan in context.preparation.plans}
            inside.make_folder(folder / "plans")
            for plan_id, plan in plans.items():
                save_plan(plan, folder / "plans" / plan_id, None)
            where: dict[str, Path] = {plan_id: (folder / "plans" / plan_id).absolute() for plan_id in plans}
            setup = setup_of(context.config, context.preparation, where, token)
            write_atomically(folder / "setup.pickle", pickle.dumps(setup))
            executor = _executor(self._config, folder, memory_needed(left))
            cut = cut_of(self._config, left)
            pool = SlurmPool(executor, folder.absolute(), cut.n_units)
            schedule = Schedule(target_s=TARGET_S, first_tokens=cut.tokens, waits_for_model=False)
            Driver(context, pool, leases, progress, schedule).run(jobs)
        with contextlib.suppress(OSError):
            inside.remove_folder(folder)  # after an error it stays, with the logs of the jobs
        inside.remove_empty_folder(folder.parent)


@dataclass(frozen=True, slots=True)
class Cut:
    """The first cut of the work into units."""

    n_units: int
    tokens: int
    """Most tokens of a unit."""


def cut_of(config: EvalConfig, jobs: Sequence[CheckpointJob]) -> Cut:
    """Cut the work into units: whole checkpoints, or parts of them where there are more workers."""
    n_tokens = [job.n_tokens for job in jobs]
    parts = -(-_n_workers(config, len(jobs)) // max(1, len(jobs)))
    tokens = max(1, -(-max(n_tokens, default=1) // parts))
    return Cut(sum(-(-n // tokens) for n in n_tokens), tokens)


def _n_workers(config: EvalConfig, n_jobs: int) -> int:
    return config.placement.n_workers or min(MOST_ELEMENTS, n_jobs)


def _check_place(results: Path) -> None:
    """Refuse results in a bucket: the jobs' plans and logs lie in the results folder.

    Raises:
        MilepostError: they are in one.
    """
    if in_bucket(results):
        raise MilepostError(
            Phrase(
                "--executor slurm keeps plans and logs in the results folder, and {folder} is in a bucket",
                folder=results,
            ),
            "choose a folder on a shared disk, or start one `milepost run` per job: they share the work",
        )


def script_of(config: EvalConfig, jobs: Sequence[CheckpointJob]) -> str:
    """Return the batch script that the jobs would be submitted with; Slurm is not needed."""
    _import_submitit()
    from submitit.slurm.slurm import _make_sbatch_string

    left = [job for job in jobs if job.missing]
    _check_place(config.output_path)
    folder = config.output_path.absolute() / "slurm"
    command = STARTED_BY_SUBMITIT.format(folder=folder)
    parameters = {
        name.removeprefix("slurm_"): value for name, value in _parameters(config, memory_needed(left)).items()
    }
    script: str = _make_sbatch_string(
        command=command, folder=folder, map_count=max(1, cut_of(config, left).n_units), **parameters
    )
    return script


def _parameters(config: EvalConfig, memory: int) -> dict[str, Any]:
    """Return the parameters of the jobs, by submitit's names for them."""
    place = config.placement
    given: dict[str, Any] = {
        "slurm_job_name": "milepost",
        "slurm_time": place.slurm_time,
        "slurm_partition": place.slurm_partition,
        "slurm_account": place.slurm_account,
        "slurm_qos": place.slurm_qos,
        "slurm_gpus_per_node": place.slurm_gpus or None,
        "slurm_cpus_per_task": place.slurm_cpus,
        "slurm_mem": f"{-(-memory // (1 << 30))}GB",
        "slurm_array_parallelism": _n_workers(config, MOST_ELEMENTS),
        "slurm_additional_parameters": {"requeue": True, **dict(place.slurm_options)},
    }
    return {name: value for name, value in given.items() if value is not None}


def _import_submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise MilepostError("--executor slurm needs submitit", "pip install 'milepost[slurm]'") from error
    return submitit


def _executor(config: EvalConfig, folder: Path, memory: int) -> Any:
    """Return submitit's executor, which writes its files into `folder`."""
    submitit = _import_submitit()
    cluster = os.environ.get(CLUSTER, "slurm")
    executor = submitit.AutoExecutor(folder=folder / "jobs", cluster=cluster)
    parameters = _parameters(config, memory)
    if cluster == "local":
        executor.update_parameters(timeout_min=config.placement.slurm_time)
    else:
        executor.update_parameters(**parameters)
    return executor


class ArrayElement:
    """The work of one element of an array; pickled by submitit."""

    def __init__(self, folder: Path, order: Order, events: Path, halvings: int) -> None:
        self.folder = folder
        self.order = order
        self.events = events
        self.halvings = halvings

    def __call__(self) -> None:
        """Score the unit, and write what happens to the file of its events."""
        import torch

        if cpus := os.environ.get("SLURM_CPUS_PER_TASK"):
            torch.set_num_threads(int(cpus))
        setup = pickle.loads((self.folder / "setup.pickle").read_bytes())
        with inside.append(self.events) as file:

            def tell(event: Event) -> None:
                file.write(pickle.dumps(event))
                file.flush()

            with unit_scorer(setup, tell, self.halvings) as scorer:
                scorer.score(self.order)

    def checkpoint(self) -> Any:
        """Return the work of a job that is requeued after a preemption: the same, from its records."""
        return _import_submitit().helpers.DelayedSubmission(self)


@dataclass(slots=True)
class _Element:
    """A submitted element."""

    job: Any
    events: Path
    offset: int = 0
    """Bytes of its events that were read."""


class SlurmPool:
    """Elements of arrays; each is a worker that scores one unit and is then replaced by another."""

    def __init__(self, executor: Any, folder: Path, n_units: int) -> None:
        self._executor = executor
        self._folder = folder
        self._elements: dict[int, _Element] = {}
        self._orders: dict[int, Order] = {}
        """Given and not submitted yet."""
        self._halvings: dict[int, int] = {}
        self._joining = list(range(n_units))
        self._n_submitted = 0
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

    def give(self, worker: int, order: Order) -> None:
        """Let an element score a unit; units that are given together become one array."""
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

    def replace(self, worker: int, halvings: int) -> None:
        """Let another element take the place of one that failed."""
        self._halvings[worker] = halvings
        self._joining.append(worker)

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
            elements.append(ArrayElement(self._folder, order, events, self._halvings.get(worker, 0)))
        try:
            with self._executor.batch():
                jobs = [self._executor.submit(element) for element in elements]
        except Exception as error:  # submitit raises what sbatch says in several types
            raise MilepostError(
                Phrase("Slurm did not take the jobs: {error}", error=" ".join(str(error).split())[:300]),
                "`--dry-run` prints the script; the --slurm options set partition, account and time",
            ) from error
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
            if isinstance(event, (UnitStored, Refused, NoRoom, Broken)):
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
    return Died(f"{state}; {last[:200]}", from_outside=state.split()[0] in TAKEN)
