"""Say what a process is doing, from the first second on: stages of the preparation, and downloads.

A terminal has one line that changes; elsewhere a stage that takes longer than a moment is told once, and a
download every ten seconds.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from milepost.network.downloads import Transfer, downloads
from milepost.text.byte_sizes import format_bytes
from milepost.text.durations import format_duration, time_left
from milepost.text.language import Phrase, _, translated

if TYPE_CHECKING:
    from rich.status import Status

MOMENT_S = 0.4
"""Stages that take no longer are not worth a line."""
LOOK_S = 0.2
DOWNLOAD_EVERY_S = 10.0
"""Seconds between two lines on a download, where lines stay."""


class SignsOfLife:
    """Shows the current stage, and downloads, from a thread of its own; use as a context manager."""

    def __init__(self) -> None:
        self._stage: tuple[str, float] | None = None
        self._told: tuple[str, float] | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._look, name="milepost-signs-of-life", daemon=True)
        self._status: Status | None = None
        self._next_download = 0.0

    def __enter__(self) -> SignsOfLife:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._leave_screen()

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Say what is done while the block lasts; a stage within a stage hides it."""
        before, self._stage = self._stage, (what, time.monotonic())
        try:
            yield
        finally:
            self._leave_screen()
            self._stage = before

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            with self._lock:
                stage = self._stage
                if stage is not None and time.monotonic() - stage[1] >= MOMENT_S:
                    self._show(stage)
                elif stage is None:
                    self._tell_downloads()

    def _show(self, stage: tuple[str, float]) -> None:
        what = translated(stage[0])
        if is_terminal():
            passed = format_duration(round(time.monotonic() - stage[1]))
            line = "; ".join([f"{what} ... {passed}", *map(download_line, downloads())])
            self._on_screen(line)
            return
        if self._told != stage:
            self._told = stage
            print(f"{what} ...", file=sys.stderr, flush=True)
        self._tell_downloads()

    def _tell_downloads(self) -> None:
        """Say in lines that stay how far downloads are; a terminal shows them elsewhere."""
        now = time.monotonic()
        if is_terminal() or now < self._next_download:
            return
        lines = [download_line(one) for one in downloads() if one.bytes_per_s is not None]
        for line in lines:
            print(line, file=sys.stderr, flush=True)
        if lines:
            self._next_download = now + DOWNLOAD_EVERY_S

    def _on_screen(self, line: str) -> None:
        from rich.console import Console
        from rich.status import Status
        from rich.text import Text

        if self._status is None:
            self._status = Status(Text(line), console=Console(stderr=True))
            self._status.start()
        else:
            self._status.update(Text(line))

    def _leave_screen(self) -> None:
        with self._lock:
            if self._status is not None:
                self._status.stop()
                self._status = None


@contextmanager
def importing() -> Iterator[None]:
    """Say that libraries are imported while the block lasts."""
    with SignsOfLife() as signs, signs.stage(Phrase("importing libraries")):
        yield


def is_terminal() -> bool:
    """Return whether standard error is a terminal on which lines can change."""
    return sys.stderr.isatty() and importlib.util.find_spec("rich") is not None


def download_line(transfer: Transfer) -> str:
    """Return `hf://org/name@step-1: 120 MB of 990 MB, 12 MB/s, about 72 s left`."""
    done, rate, left_s = format_bytes(transfer.n_bytes), transfer.bytes_per_s, transfer.left_s
    if transfer.total_bytes is not None:
        done = _("{done} of {total}", done=done, total=format_bytes(transfer.total_bytes))
    parts = [
        _("downloading {what}: {done}", what=transfer.what, done=done),
        *([] if rate is None else [f"{format_bytes(rate)}/s"]),
        *([] if left_s is None else [time_left(left_s)]),
    ]
    return ", ".join(parts)
