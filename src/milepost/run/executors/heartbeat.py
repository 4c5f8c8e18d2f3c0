"""Tell the driver at once, and every few seconds, that this worker is alive, and how much it has computed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from milepost.run.executors.messages import Alive

BEAT_S = 2.0


@contextmanager
def heartbeat(tell: Callable[[Alive], None]) -> Iterator[None]:
    """Call `tell` before the block, and from a thread while it runs."""
    is_over = threading.Event()
    # Nobody watches for a worker that has never given a sign: it could hang at its first shard unseen.
    tell(Alive(time.process_time()))

    def beat() -> None:
        while not is_over.wait(BEAT_S):
            tell(Alive(time.process_time()))

    threading.Thread(target=beat, name="milepost-heartbeat", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()
