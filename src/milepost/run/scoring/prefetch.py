"""Read the next item in the background while the caller works on this one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


def read_ahead(items: Sequence[Item], read: Callable[[Item], Value]) -> Iterator[tuple[Item, Future[Value]]]:
    """Yield each item with the (perhaps failed) result of `read`, which is one item ahead of the caller.

    At most two results exist at a time: the one handed out and the next. The threads are daemons, so an
    interrupt need not wait for a download.
    """
    waiting = start_reading(read, items[0]) if items else None
    for number, item in enumerate(items):
        ready = waiting
        assert ready is not None
        ready.exception()  # waits; the caller sees it through result()
        waiting = start_reading(read, items[number + 1]) if number + 1 < len(items) else None
        yield item, ready
        del ready


def start_reading(read: Callable[[Item], Value], item: Item) -> Future[Value]:
    future: Future[Value] = Future()

    def work() -> None:
        try:
            future.set_result(read(item))
        except BaseException as error:  # handed to the caller, who raises it
            future.set_exception(error)

    threading.Thread(target=work, name="milepost-read-ahead", daemon=True).start()
    return future
