"""The main function of a worker process, and how it hears of orders."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from multiprocessing.connection import Connection

from milepost.run.executors.heartbeat import heartbeat
from milepost.run.executors.local.places import Place
from milepost.run.executors.messages import Event, MetricsOrder, Order
from milepost.run.executors.worker import unit_scorer
from milepost.run.executors.worker_setup import WorkerSetup


def work(pipe: Connection, setup: WorkerSetup, place: Place, halvings: int) -> None:
    """Score what comes through the pipe until it says None or is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the driver ends this one
    if place.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = place.gpu
    import torch

    torch.set_num_threads(place.threads)
    orders: queue.SimpleQueue[Order | MetricsOrder | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, orders), name="milepost-orders", daemon=True).start()
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock, contextlib.suppress(OSError):  # the driver is gone: `_receive` ends this process
            pipe.send(event)

    with heartbeat(tell), unit_scorer(setup.on(place.device), tell, halvings) as scorer:
        while (order := orders.get()) is not None:
            if isinstance(order, MetricsOrder):
                scorer.compute_metrics(order)
            else:
                scorer.score(order)


def _receive(pipe: Connection, orders: queue.SimpleQueue[Order | MetricsOrder | None]) -> None:
    """Receive orders until there are no more; the process ends at once when the driver is gone."""
    while True:
        try:
            order = pipe.recv()
        except (EOFError, OSError):
            os._exit(1)
        orders.put(order)
        if order is None:
            return
