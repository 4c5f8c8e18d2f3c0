"""Show how far a run is: a Rich display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from milepost.network.downloads import downloads
from milepost.run.display.signs_of_life import download_line, is_terminal
from milepost.run.display.timing import Clock
from milepost.run.target import PlannedShard
from milepost.text.durations import format_duration, time_left
from milepost.text.language import _, for_reader
from milepost.types.checkpoints import Checkpoint


class Display(Protocol):
    """Something that shows progress to a person."""

    def start(self, checkpoint: Checkpoint, work: int) -> None: ...

    def advance(self, checkpoint: Checkpoint, work: int) -> None: ...

    def leave(self, checkpoint: Checkpoint, work: int) -> None:
        """End with the scores of a checkpoint, of which `work` were not scored by this run."""
        ...

    def finish(self, checkpoint: Checkpoint, result: str) -> None: ...

    def pause(self) -> AbstractContextManager[None]:
        """Leave the screen while it lasts, for a question to the person."""
        ...


class Progress:
    """Keeps a run's clock and its display in step."""

    def __init__(self, clock: Clock, display: Display, note_left: Callable[[float], None]) -> None:
        """Make it.

        Args:
            note_left: called with the seconds left after the first docs and each shard, for other processes.
        """
        self.clock = clock
        self._display = display
        self._note_left = note_left
        self.pause = display.pause

    def start(self, checkpoint: Checkpoint) -> None:
        """Begin with a checkpoint."""
        self._display.start(checkpoint, self.clock.start(checkpoint))

    def advance(self, checkpoint: Checkpoint, scored: PlannedShard, seconds: float | None = None) -> None:
        """Count a shard, as `Clock.advance` does; say once how long the run takes if that is long."""
        task, shard = scored
        work = task.work_of(shard)
        self.clock.advance(checkpoint, task.name, work, seconds)
        self._display.advance(checkpoint, work)
        self.note_left()
        if line := self.clock.announcement():
            print(line, file=sys.stderr, flush=True)

    def note_left(self) -> None:
        """Note the time left for `milepost status` and the pages, where it is known."""
        if (left_s := self.clock.left_s) is not None:
            self._note_left(left_s)

    def leave(self, checkpoint: Checkpoint) -> None:
        """End with the scores of a checkpoint; its metrics may come later."""
        if self.clock.is_at(checkpoint):
            self._display.leave(checkpoint, self.clock.leave(checkpoint))

    def finish(self, checkpoint: Checkpoint, result: str) -> None:
        """Say in a few words what became of a checkpoint, perhaps after others were started."""
        self.leave(checkpoint)
        self._display.finish(checkpoint, result)


@contextmanager
def show_progress(
    n_checkpoints: int, clock: Clock, note_left: Callable[[float], None] = lambda seconds: None
) -> Iterator[Progress]:
    """Show progress in the display that fits where standard error goes; arguments as of `Progress`."""
    if is_terminal():
        with _bars(clock) as display:
            yield Progress(clock, display, note_left)
    else:
        yield Progress(clock, _Lines(n_checkpoints, clock), note_left)


class _Lines:
    """Shows one line per checkpoint, which suits a log file."""

    def __init__(self, n_checkpoints: int, clock: Clock) -> None:
        self._n = n_checkpoints
        self._clock = clock
        self._n_finished = 0

    def start(self, checkpoint: Checkpoint, work: int) -> None: ...

    def advance(self, checkpoint: Checkpoint, work: int) -> None: ...

    def leave(self, checkpoint: Checkpoint, work: int) -> None: ...

    def pause(self) -> AbstractContextManager[None]:
        return nullcontext()

    def finish(self, checkpoint: Checkpoint, result: str) -> None:
        self._n_finished += 1
        left_s = self._clock.left_s if self._clock.work_left > 0 else None
        print(
            f"[{self._n_finished}/{self._n}] {checkpoint.series} {checkpoint.name}: {for_reader(result)},"
            f" {format_duration(self._clock.laps[checkpoint].seconds)}"
            + ("" if left_s is None else f", {time_left(left_s)}"),
            file=sys.stderr,
            flush=True,
        )


@contextmanager
def _bars(clock: Clock) -> Iterator[Display]:
    from rich.console import Console, RenderableType
    from rich.progress import (
        BarColumn,
        ProgressColumn,
        Task,
        TaskID,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class TimeLeft(ProgressColumn):
        def render(self, task: Task) -> Text:
            left_s = clock.left_s if task.id == every else None
            return Text("" if left_s is None else time_left(left_s), style="progress.remaining")

    class Shown(RichProgress):
        """The bars, and below them the downloads that are under way."""

        def get_renderables(self) -> Iterable[RenderableType]:
            yield from super().get_renderables()
            yield from (Text(download_line(one), style="dim") for one in downloads())

    display = Shown(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeLeft(),
        console=Console(stderr=True),
        transient=True,
    )
    every = display.add_task(_("all checkpoints"), total=clock.work_left)
    current: dict[Checkpoint, TaskID] = {}

    class Bars:
        def start(self, checkpoint: Checkpoint, work: int) -> None:
            current[checkpoint] = display.add_task(f"{checkpoint.series} {checkpoint.name}", total=work)

        def advance(self, checkpoint: Checkpoint, work: int) -> None:
            display.update(current[checkpoint], advance=work)
            display.update(every, advance=work)

        def leave(self, checkpoint: Checkpoint, work: int) -> None:
            display.remove_task(current.pop(checkpoint))
            display.update(every, advance=work)

        def finish(self, checkpoint: Checkpoint, result: str) -> None:
            display.console.print(Text(f"{checkpoint.series} {checkpoint.name}: {for_reader(result)}"))

        @contextmanager
        def pause(self) -> Iterator[None]:
            display.stop()
            try:
                yield
            finally:
                display.start()

    with display:
        yield Bars()
