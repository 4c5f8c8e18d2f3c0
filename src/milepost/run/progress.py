"""How far a run is: a Rich display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from milepost.run.timing import format_duration
from milepost.types import Checkpoint


class Progress(Protocol):
    """Told by the run what it does; units are tokens before sharing."""

    def start(self, checkpoint: Checkpoint, tokens: int) -> None: ...

    def advance(self, tokens: int) -> None: ...

    def leave(self) -> None:
        """The checkpoint that was started last has its scores; its metrics may come later."""
        ...

    def finish(self, checkpoint: Checkpoint, what: str) -> None:
        """What became of a checkpoint, perhaps after others were started; leaves it if nobody did."""
        ...


class Display(Progress, Protocol):
    """What is on the screen."""

    def aside(self) -> AbstractContextManager[None]:
        """Off the screen while it lasts, so that something can be said and asked."""
        ...


@contextmanager
def show_progress(n_checkpoints: int, n_tokens: int) -> Iterator[Display]:
    """The display that fits where stderr goes."""
    if sys.stderr.isatty() and importlib.util.find_spec("rich") is not None:
        with _bars(n_tokens) as bars:
            yield bars
    else:
        yield Lines(n_checkpoints, n_tokens)


class Lines:
    """One line per checkpoint, with the time left judged by the tokens done."""

    def __init__(self, n_checkpoints: int, n_tokens: int) -> None:
        self._n = n_checkpoints
        self._n_tokens = n_tokens
        self._done = self._of_this = self._tokens_done = 0
        self._began = self._this = time.monotonic()
        self._at: Checkpoint | None = None
        self._took_s: dict[Checkpoint, float] = {}
        """Of those that were left and are not finished."""

    def start(self, checkpoint: Checkpoint, tokens: int) -> None:
        self._this = time.monotonic()
        self._at, self._of_this = checkpoint, tokens

    def advance(self, tokens: int) -> None:
        """Nothing between checkpoints: a log file wants no thousand lines."""

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def leave(self) -> None:
        if self._at is not None:
            self._took_s[self._at] = time.monotonic() - self._this
            self._tokens_done += self._of_this
            self._at = None

    def finish(self, checkpoint: Checkpoint, what: str) -> None:
        if self._at == checkpoint:
            self.leave()
        self._done += 1
        now = time.monotonic()
        left = max(0, self._n_tokens - self._tokens_done)
        eta = ""
        if left and self._tokens_done:
            eta = f", about {format_duration((now - self._began) / self._tokens_done * left)} left"
        print(
            f"[{self._done}/{self._n}] {checkpoint.series} {checkpoint.name}: {what},"
            f" {format_duration(self._took_s.pop(checkpoint))}{eta}",
            file=sys.stderr,
            flush=True,
        )


@contextmanager
def _bars(n_tokens: int) -> Iterator[Display]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    display = RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )

    class Bars:
        def __init__(self) -> None:
            self._all = display.add_task("all checkpoints", total=n_tokens)
            self._one = display.add_task("", total=None, visible=False)
            self._left = 0
            self._at: Checkpoint | None = None

        def start(self, checkpoint: Checkpoint, tokens: int) -> None:
            self._at, self._left = checkpoint, tokens
            name = f"{checkpoint.series} {checkpoint.name}"
            display.update(self._one, description=name, total=tokens, completed=0, visible=True)

        def advance(self, tokens: int) -> None:
            self._left -= tokens
            display.update(self._one, advance=tokens)
            display.update(self._all, advance=tokens)

        def leave(self) -> None:
            display.update(self._all, advance=self._left)
            self._at, self._left = None, 0

        def finish(self, checkpoint: Checkpoint, what: str) -> None:
            if self._at == checkpoint:
                self.leave()
            display.console.print(Text(f"{checkpoint.series} {checkpoint.name}: {what}"))

        @contextmanager
        def aside(self) -> Iterator[None]:
            display.stop()
            try:
                yield
            finally:
                display.start()

    with display:
        yield Bars()
