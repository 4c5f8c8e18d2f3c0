"""Actors of a cluster: started, listened to, replaced and ended."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import time
from typing import Any

from milepost.errors import MilepostError
from milepost.run.display.journal import AT_ONCE
from milepost.run.executors.messages import Died, Event, Joined, MetricsOrder, Order
from milepost.run.executors.probe import check_joined
from milepost.run.executors.ray_cluster.actor import RayWorker
from milepost.run.executors.ray_cluster.resources import WorkerShape
from milepost.run.executors.schedule import Cause
from milepost.run.executors.worker_setup import WorkerSetup
from milepost.text.byte_sizes import format_bytes
from milepost.text.language import Phrase
from milepost.text.messages import one_line

POLL_S = 10.0
"""Longest time that a worker keeps a question for its events open."""
JOIN_S = 60.0
"""Time without a worker after which the person is told that the run waits for the cluster."""
KILL_S = 5.0
"""Time that a node has to kill a process which hangs."""

logger = logging.getLogger("milepost.run")


class RayPool:
    """Actors of the cluster that this process is connected to."""

    computes_metrics = False

    def __init__(self, setup: WorkerSetup, n_workers: int, shape: WorkerShape) -> None:
        self.n_workers = n_workers
        self._setup = setup
        self._shape = shape
        self._actors: dict[int, Any] = {}
        self._nodes: dict[int, Any] = {}
        """Answers to the question which node an actor is on."""
        self._asked: dict[Any, int] = {}
        """Questions for events that are open, and the worker of each."""
        self._joined: dict[int, Joined] = {}
        self._killed: list[tuple[int, Event]] = []
        self._began = 0.0
        self._has_waited = False
        self._given: Any = None
        """The set-up in Ray's object store, from which each node gets it once."""

    def __enter__(self) -> RayPool:
        import ray

        self._given = ray.put(self._setup)
        self._began = time.monotonic()
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

    def start(self, worker: int, halvings: int) -> None:
        """Start the actor of a worker, where the cluster has room."""
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
        actor_class: Any = ray.remote(RayWorker)
        actor = actor_class.options(**options).remote(
            self._given, self._shape.num_gpus, self._shape.num_cpus, halvings
        )
        self._actors[worker] = actor
        self._nodes[worker] = actor.node.remote()
        self._ask(worker)

    def give(self, worker: int, order: Order | MetricsOrder) -> None:
        """Let a worker score a unit."""
        self._actors[worker].give.remote(order)

    def events(self, timeout_s: float) -> list[tuple[int, Event]]:
        """Return what workers tell, after waiting for at most so long."""
        import ray

        found, self._killed = self._killed, []
        ready, _ = ray.wait(list(self._asked), num_returns=1, timeout=0.0 if found else timeout_s)
        for question in ready:
            worker = self._asked.pop(question)
            try:
                told: list[Event] = ray.get(question)
            except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
                found.append((worker, death(error)))
                continue
            for event in told:
                if isinstance(event, Joined):
                    self._joined[worker] = event
                    check_joined(event)
                found.append((worker, event))
            self._ask(worker)
        self._say_if_waiting()
        return found

    def kill(self, worker: int, why: str) -> None:
        """Kill a worker's process from its node: a process that is stopped does not hear Ray."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._asked = {question: one for question, one in self._asked.items() if one != worker}
        with contextlib.suppress(ray.exceptions.RayError):  # the node is gone as well
            on_node = NodeAffinitySchedulingStrategy(ray.get(self._nodes[worker], timeout=KILL_S), soft=False)
            kill: Any = ray.remote(_kill)
            options: dict[str, Any] = {"num_cpus": 0, "scheduling_strategy": on_node}
            ray.get(kill.options(**options).remote(self._joined[worker].pid), timeout=KILL_S)
        ray.kill(self._actors[worker])
        self._killed.append((worker, Died(f"it {why}, and was killed")))

    def describe(self, worker: int) -> str:
        """Return `worker 2 (node-7)`."""
        joined = self._joined.get(worker)
        return f"worker {worker + 1} ({'not placed yet' if joined is None else joined.host})"

    def _ask(self, worker: int) -> None:
        self._asked[self._actors[worker].events.remote(POLL_S)] = worker

    def _say_if_waiting(self) -> None:
        if not self._joined and not self._has_waited and time.monotonic() - self._began > JOIN_S:
            self._has_waited = True
            logger.warning(
                "no worker has joined yet: the cluster has no room for %d GPUs, %d cores and %s per worker",
                self._shape.num_gpus,
                self._shape.num_cpus,
                format_bytes(self._shape.memory),
                extra=AT_ONCE,
            )


_COLOUR = re.compile("\x1b\\[[0-9;]*m")
"""Ray colours the names of actors, for a terminal of its own."""


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def death(error: Exception) -> Died:
    """Say how an actor ended.

    Raises:
        MilepostError: its host cannot import milepost; no other actor there could.
    """
    plain = _COLOUR.sub("", str(error))
    if "No module named" in plain:
        raise MilepostError(
            Phrase("a host of the cluster cannot import milepost: {text}", text=one_line(plain, 400)),
            "install the same milepost on every host, for example with a runtime environment or an image",
        )
    reason = " ".join(plain.split()).partition("The actor is dead because ")[2] or plain
    told = one_line(reason, 400)
    if "node has died" in reason or "node was" in reason:
        return Died(told, Cause.TAKEN)
    return Died(told, Cause.KILLED if "SIGKILL" in reason else Cause.ITSELF)
