"""A worker on a Ray cluster."""

from __future__ import annotations

import contextlib
import queue
import tempfile
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path

from milepost.errors import MilepostError
from milepost.run.executors.messages import Alive, Broken, Event, Order
from milepost.run.executors.ray_cluster.sent_records import SendingRecords
from milepost.run.executors.worker import unit_scorer
from milepost.run.executors.worker_setup import WorkerSetup


class RayWorker:
    """An actor: a thread scores, and the methods give it orders and ask for its events."""

    def __init__(self, setup: WorkerSetup, n_gpus: int, n_cpus: int, halvings: int) -> None:
        import torch

        torch.set_num_threads(n_cpus)
        self._setup = setup.on("cuda" if n_gpus else "cpu")
        self._halvings = halvings
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="milepost-scoring", daemon=True)
        self._thread.start()

    def give(self, order: Order) -> None:
        """Score a unit; returns at once."""
        self._orders.put(order)

    def node(self) -> str:
        """Return Ray's name of the node that this actor is on."""
        import ray

        return ray.get_runtime_context().get_node_id()

    def events(self, timeout_s: float) -> list[Event]:
        """Return what happened since the last call, after waiting for at most so long; and a sign of life."""
        found: list[Event] = [Alive(time.process_time())]
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
        try:
            if self._setup.config.placement.send_records:
                with tempfile.TemporaryDirectory(prefix="milepost-records-") as folder:
                    results = Path(folder) / "results"
                    self._score(replace(self._setup, results=results, token=None), results)
            else:
                self._score(self._setup, None)
        except MilepostError as error:
            self._events.put(Broken(error))
        except BaseException:  # the driver raises it; in this thread nobody would see it
            self._events.put(Broken(None, traceback.format_exc()))

    def _score(self, setup: WorkerSetup, sent_from: Path | None) -> None:
        tell = self._events.put if sent_from is None else SendingRecords(sent_from, self._events.put)
        with unit_scorer(setup, tell, self._halvings) as scorer:
            while (order := self._orders.get()) is not None:
                scorer.score(order)
