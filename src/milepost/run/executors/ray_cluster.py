"""Workers on a Ray cluster: one actor per GPU, or per share of the cluster's cores.

Ray places the actors; units, requeueing and records are the driver's, as everywhere. An actor that is lost,
alone or with its node, is replaced by a new one wherever the cluster has room.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from milepost.byte_sizes import format_bytes
from milepost.errors import MilepostError
from milepost.language import Phrase
from milepost.run.config import EvalConfig
from milepost.run.context import RunContext
from milepost.run.executors.cores import CORES_PER_WORKER, cores
from milepost.run.executors.driver import Driver
from milepost.run.executors.listening_ports import listening_ports
from milepost.run.executors.messages import (
    Broken,
    Died,
    Event,
    Joined,
    LogText,
    Order,
    Records,
    Said,
    UnitStored,
)
from milepost.run.executors.probe import check_joined, probe_file
from milepost.run.executors.worker import WorkerSetup, setup_of, unit_scorer
from milepost.run.jobs import CheckpointJob
from milepost.run.journal import AT_ONCE
from milepost.run.model_memory import memory_needed
from milepost.run.progress import Progress
from milepost.store import listing
from milepost.store.layout import Layout
from milepost.store.leases import Leases
from milepost.store.workers import Worker

ANSWER_S = 5.0
"""Time in which a cluster has to answer."""
POLL_S = 10.0
"""Longest time that a worker keeps a question for its events open."""
JOIN_S = 60.0
"""Time without a worker after which the person is told that the run waits for the cluster."""

logger = logging.getLogger("milepost.run")


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """The resources of one worker, by the names that Ray gives them."""

    num_gpus: int
    num_cpus: int
    memory: int
    """Bytes of main memory."""


class RayCluster:
    """The executor with workers on a Ray cluster."""

    def __init__(self, config: EvalConfig) -> None:
        self._config = config

    def run(
        self,
        jobs: Sequence[CheckpointJob],
        context: RunContext,
        worker: Worker,
        leases: Leases,
        progress: Progress,
    ) -> None:
        """Do every job. Raises as `Executor.run`."""
        with connected(self._config), probe_file(context.results) as token:
            plans = {plan.plan_id: plan.without_docs() for plan in context.preparation.plans}
            setup = setup_of(context.config, context.preparation, plans, token)
            n_workers, shape = _shape_of_workers(context.config, memory_needed(jobs))
            pool = RayPool(setup, n_workers, shape)
            Driver(context, pool, leases, progress).run(jobs)


@contextlib.contextmanager
def connected(config: EvalConfig) -> Any:
    """Connect to the cluster while the block runs; a local one is started for it, and ended with it.

    Raises:
        MilepostError: Ray is not installed, there is no such cluster, or it has other versions.
    """
    if config.placement.ray_local:
        # Ray's own switch for hosts that are no cluster: then every server listens on 127.0.0.1 alone.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _import_ray()
    options: dict[str, Any] = {
        "logging_level": logging.ERROR,
        "log_to_driver": False,
        "namespace": "milepost",
    }
    if config.placement.ray_local:
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = False  # where Ray was imported before
        options |= {"address": "local", "include_dashboard": False, "num_cpus": cores()}
    else:
        options |= {"address": config.placement.ray_address or "auto"}
        _check_answers(config.placement.ray_address or os.environ.get("RAY_ADDRESS", "auto"))
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
        raise _no_cluster(config.placement.ray_address or "auto", error) from error
    try:
        if config.placement.ray_local:
            logger.warning(
                "Ray was started for this run alone; it listens on %s",
                ", ".join(listening_ports()) or "no port",
                extra=AT_ONCE,
            )
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Check that somebody answers at an address; Ray itself would try for minutes.

    Raises:
        MilepostError: nobody does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # `auto`, or a name that Ray resolves
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MilepostError("--executor ray needs Ray", "pip install 'milepost[ray]'") from error
    return ray


def _no_cluster(address: str, error: Exception) -> MilepostError:
    text = " ".join(str(error).split())
    if "ersion mismatch" in text:
        return MilepostError(
            Phrase("the Ray cluster has other versions than this process: {text}", text=text[:400]),
            "install the same Ray and Python on every host",
        )
    return MilepostError(
        Phrase(
            "there is no Ray cluster at {address}: {text}",
            address=address,
            text=text[:200],
        ),
        "start one with `ray start --head`, name it with --ray-address, or pass --ray-local",
    )


def _shape_of_workers(config: EvalConfig, memory: int) -> tuple[int, WorkerShape]:
    """Return the number of workers and the resources of each.

    Raises:
        MilepostError: there are fewer devices in the cluster, or no node has so much memory.
    """
    import ray

    total = ray.cluster_resources()
    n_gpus, n_cpus = int(total.get("GPU", 0)), int(total.get("CPU", 1))
    asked = config.placement.n_workers
    if n_gpus and not config.device.startswith("cpu"):
        n_workers = asked or n_gpus
        if n_workers > n_gpus:
            raise MilepostError(
                Phrase("{n} workers, and the cluster has {m} GPUs", n=n_workers, m=n_gpus),
                Phrase("at most --workers {m}: a GPU has one worker", m=n_gpus),
            )
        shape = WorkerShape(1, 1, memory)
    else:
        n_workers = asked or max(1, n_cpus // CORES_PER_WORKER)
        if n_workers > n_cpus:
            raise MilepostError(
                Phrase("{n} workers, and the cluster has {m} cores", n=n_workers, m=n_cpus),
                Phrase("at most --workers {m}", m=n_cpus),
            )
        smallest = min((int(node["Resources"].get("CPU", 0)) or n_cpus for node in _nodes()), default=n_cpus)
        shape = WorkerShape(0, max(1, min(n_cpus // n_workers, smallest)), memory)
    largest = max((int(node["Resources"].get("memory", 0)) for node in _nodes()), default=0)
    if largest and memory > largest:
        raise MilepostError(
            Phrase(
                "a worker needs about {needed} of memory, and no node of the cluster has more than {largest}",
                needed=format_bytes(memory),
                largest=format_bytes(largest),
            ),
            "add a node with more memory, or start its Ray with a larger --memory",
        )
    return n_workers, shape


def _nodes() -> list[dict[str, Any]]:
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()
    return [node for node in nodes if node["Alive"]]


class RayPool:
    """Actors of the cluster that this process is connected to."""

    def __init__(self, setup: WorkerSetup, n_workers: int, shape: WorkerShape) -> None:
        self._setup = setup
        self._n_workers = n_workers
        self._shape = shape
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, int] = {}
        """Questions for events that are open, and the worker of each."""
        self._hosts: dict[int, str] = {}
        self._began = 0.0
        self._has_waited = False
        self._given: Any = None
        """The set-up in Ray's object store, from which each node gets it once."""

    def __enter__(self) -> RayPool:
        import ray

        self._given = ray.put(self._setup)
        self._began = time.monotonic()
        for number in range(self._n_workers):
            self._begin(number, 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the workers: none outlives the run."""
        import ray

        if kind is None:
            ended = [actor.end.remote() for actor in self._actors.values()]
            with contextlib.suppress(Exception):  # an actor that is gone needs no end
                ray.wait(ended, num_returns=len(ended), timeout=5.0)
        for actor in self._actors.values():
            with contextlib.suppress(Exception):
                ray.kill(actor)
        self._actors.clear()
        self._asked.clear()

    def give(self, worker: int, order: Order) -> None:
        """Let a worker score a unit."""
        self._actors[worker].give.remote(order)

    def events(self, timeout_s: float) -> list[tuple[int, Event]]:
        """Return what workers tell, after waiting for at most so long."""
        import ray

        ready, _ = ray.wait(list(self._asked), num_returns=1, timeout=timeout_s)
        found: list[tuple[int, Event]] = []
        for question in ready:
            worker = self._asked.pop(question)
            try:
                told: list[Event] = ray.get(question)
            except ray.exceptions.RayActorError as error:
                found.append((worker, self._lost(worker, error)))
                continue
            for event in told:
                if isinstance(event, Joined):
                    self._hosts[worker] = event.host
                    check_joined(event)
                found.append((worker, event))
            self._ask(worker)
        self._say_if_waiting()
        return found

    def replace(self, worker: int, halvings: int) -> None:
        """Start another worker in the place of one that died, where the cluster has room."""
        self._begin(worker, halvings)

    def describe(self, worker: int) -> str:
        """Return `worker 2 (node-7)`."""
        return f"worker {worker + 1} ({self._hosts.get(worker, 'not placed yet')})"

    def _begin(self, number: int, halvings: int) -> None:
        import ray

        options: dict[str, Any] = {
            "num_gpus": self._shape.num_gpus,
            "num_cpus": self._shape.num_cpus,
            "memory": self._shape.memory,
            "max_concurrency": 4,
            "max_restarts": 0,
        }
        if endpoint := os.environ.get("HF_ENDPOINT"):
            options["runtime_env"] = {"env_vars": {"HF_ENDPOINT": endpoint}}
        actor_class = ray.remote(RayWorker).options(**options)
        self._actors[number] = actor_class.remote(
            self._given, self._shape.num_gpus, self._shape.num_cpus, halvings
        )
        self._ask(number)

    def _ask(self, worker: int) -> None:
        self._asked[self._actors[worker].events.remote(POLL_S)] = worker

    def _lost(self, worker: int, error: Exception) -> Died:
        text = " ".join(str(error).split())
        if "No module named" in text:
            raise MilepostError(
                Phrase("a host of the cluster cannot import milepost: {text}", text=text[-200:]),
                "install the same milepost on every host, for example with a runtime environment or an image",
            )
        reason = text.partition("The actor is dead because ")[2] or text
        return Died(reason[:200], from_outside="node" in reason)

    def _say_if_waiting(self) -> None:
        if not self._hosts and not self._has_waited and time.monotonic() - self._began > JOIN_S:
            self._has_waited = True
            logger.warning(
                "no worker has joined yet: the cluster has no room for %d GPUs, %d cores and %s per worker",
                self._shape.num_gpus,
                self._shape.num_cpus,
                format_bytes(self._shape.memory),
                extra=AT_ONCE,
            )


class RayWorker:
    """An actor: a thread scores, and the methods give it orders and ask for its events."""

    def __init__(self, setup: WorkerSetup, n_gpus: int, n_cpus: int, halvings: int) -> None:
        import torch

        torch.set_num_threads(n_cpus)
        device = "cuda" if n_gpus else "cpu"
        self._setup = replace(setup, config=replace(setup.config, device=device))
        self._halvings = halvings
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="milepost-scoring", daemon=True)
        self._thread.start()

    def give(self, order: Order) -> None:
        """Score a unit; returns at once."""
        self._orders.put(order)

    def events(self, timeout_s: float) -> list[Event]:
        """Return what happened since the last call, after waiting for at most so long."""
        found: list[Event] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._events.get(timeout=timeout_s))
            while True:
                found.append(self._events.get_nowait())
        return found

    def end(self) -> None:
        """Finish; leases and the worker's record are removed."""
        self._orders.put(None)
        self._thread.join(5.0)

    def _work(self) -> None:
        import traceback

        try:
            if self._setup.config.placement.send_records:
                with tempfile.TemporaryDirectory(prefix="milepost-records-") as folder:
                    results = Path(folder) / "results"
                    self._score(replace(self._setup, results=results, token=None), results)
            else:
                self._score(self._setup, None)
        except MilepostError as error:
            self._events.put(Broken(error))
        except BaseException:
            self._events.put(Broken(None, traceback.format_exc()))

    def _score(self, setup: WorkerSetup, sent_from: Path | None) -> None:
        tell = self._events.put if sent_from is None else SendingRecords(sent_from, self._events.put)
        with unit_scorer(setup, tell, self._halvings) as scorer:
            while (order := self._orders.get()) is not None:
                scorer.score(order)


class SendingRecords:
    """Tells events, and before each what was written to a results folder that only this worker sees."""

    def __init__(self, results: Path, tell: Any) -> None:
        self._results = results
        self._tell = tell
        self._sent: set[Path] = set()
        self._log_sizes: dict[Path, int] = {}

    def __call__(self, event: Event) -> None:
        if not isinstance(event, (Joined, Said)):
            files = listing.files_below(Layout(self._results).folder_of("scores"), "*.parquet")
            new = [path for path in files if path not in self._sent]
            self._sent.update(new)
            if new:
                self._tell(
                    Records(tuple((str(path.relative_to(self._results)), path.read_bytes()) for path in new))
                )
        if isinstance(event, UnitStored):
            for log in sorted(self._results.glob("*/*/evaluation.log")):
                with log.open("rb") as file:
                    file.seek(self._log_sizes.get(log, 0))
                    text = file.read()
                self._log_sizes[log] = self._log_sizes.get(log, 0) + len(text)
                if text:
                    self._tell(LogText(str(log.relative_to(self._results)), text))
        self._tell(event)
