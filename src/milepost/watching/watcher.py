"""The watch itself: look, evaluate what is ready, wait, until the end step or a plateau.

Everything that is known of earlier work lies in the results folder, so a watch that is killed and started
again goes on, and several watches on one folder share the checkpoints as several runs do.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from milepost.errors import SourceError
from milepost.run.callbacks import RunCallback
from milepost.run.evaluation import check_run, evaluate_series, find_series
from milepost.run.journal import Journal
from milepost.run.outcome import Outcome
from milepost.sources.adapter_base import HUB_SCHEME
from milepost.types import Checkpoint, Series
from milepost.watching.config import WatchSettings
from milepost.watching.readiness import Look, Readiness, look_at
from milepost.watching.waiting import Waiter

HUB_EVERY_S = 300.0
"""How often the Hub is asked for new revisions, unasked."""
LONGEST_NAP_S = 1.0
"""Between looks while something is still being written."""

logger = logging.getLogger("milepost.watching")


class Ended(enum.Enum):
    """Why a watch came to its end by itself."""

    LAST_STEP = "last step"
    PLATEAU = "plateau"


@dataclass(slots=True)
class Report:
    """What a watch did."""

    ended: Ended | None = None
    scored: list[Checkpoint] = field(default_factory=list)
    reused: list[Checkpoint] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """Address of a checkpoint to the reason it has no figures; one that was mended later is not in it."""


def watch_run(
    settings: WatchSettings,
    journal: Journal,
    listener: RunCallback,
    *,
    say: Callable[[str], None],
    has_ended: Callable[[], bool],
) -> Report:
    """Evaluate checkpoints as they become complete.

    Args:
        listener: told of each checkpoint that has figures.
        say: told in a line what is waited for, and what became of each checkpoint.
        has_ended: asked after each round whether training has shown all that it will (`--stop-when`).

    Raises:
        MilepostError: the command is wrong: the tasks, the output folder, an address on the Hub.
    """
    check_run(settings.run)
    return _Watcher(settings, journal, listener, say, has_ended).run()


class _Watcher:
    def __init__(
        self,
        settings: WatchSettings,
        journal: Journal,
        listener: RunCallback,
        say: Callable[[str], None],
        has_ended: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._listener = listener
        self._say = say
        self._has_ended = has_ended
        self._readiness = Readiness(settings.settle_s)
        self._done: dict[str, Look | None] = {}
        """Address of each evaluated checkpoint to what it looked like: overwritten, it is a new one."""
        self._steps_done: dict[str, int] = {}
        """Series to the largest step that was evaluated."""
        self._unready: dict[str, str] = {}
        """Address of each checkpoint that is there and not ready to what it waits for."""
        self._missing: dict[str, str] = {}
        """Source to why there is nothing in it yet."""
        self._settling = False
        self._looked = False
        self._report = Report()

    def run(self) -> Report:
        local = [Path(source) for source in self._settings.run.sources if not source.startswith(HUB_SCHEME)]
        with Waiter(_below_patterns(local)) as waiter:
            while self._report.ended is None:
                waiter.listen()
                ready = self._look()
                if ready:
                    self._evaluate(ready)
                elif self._past_the_last_step():
                    self._report.ended = Ended.LAST_STEP
                else:
                    waiter.wait(self._pause_s(waiter))
        self._report.failures.update(self._unready)
        return self._report

    def _pause_s(self, waiter: Waiter) -> float:
        on_hub = any(source.startswith(HUB_SCHEME) for source in self._settings.run.sources)
        longest = self._settings.every_s or (HUB_EVERY_S if on_hub else waiter.longest_s)
        if self._settling:
            longest = min(longest, max(self._settings.settle_s / 4, 0.05), LONGEST_NAP_S)
        return longest

    # ---- looking --------------------------------------------------------------------------------------

    def _look(self) -> list[Series]:
        """What is ready and was not evaluated yet, in the order asked for."""
        self._settling = False
        ready = []
        for series in self._discover():
            checkpoints = [one for one in series.checkpoints if self._is_new(one) and self._is_ready(one)]
            checkpoints = [one for one in checkpoints if self._is_within(one)]
            if self._settings.order == "newest":
                # One at a time, so that one that is newer still comes next.
                checkpoints = checkpoints[-1:]
            if checkpoints:
                ready.append(replace(series, checkpoints=tuple(checkpoints)))
        return ready

    def _discover(self) -> tuple[Series, ...]:
        """All series that are there; a source that is not there yet does not hide the others."""
        there = [source for source in self._settings.run.sources if self._is_there(source)]
        self._looked = True
        return find_series(self._settings.run, there) if there else ()

    def _is_there(self, source: str) -> bool:
        try:
            find_series(self._settings.run, [source])
        except SourceError as error:
            if source.startswith(HUB_SCHEME) and not self._looked:
                raise  # no such repository: nothing will come of waiting
            if self._missing.get(source) != error.message:
                self._say(f"waiting: {error.message}")
            self._missing[source] = error.message
            return False
        self._missing.pop(source, None)
        return True

    def _is_new(self, checkpoint: Checkpoint) -> bool:
        known = checkpoint.source in self._done
        return not (known and self._done[checkpoint.source] == look_at(checkpoint))

    def _is_ready(self, checkpoint: Checkpoint) -> bool:
        reason = self._readiness.waits_for(checkpoint)
        if reason is None:
            self._unready.pop(checkpoint.source, None)
            return True
        # What is wrong with its content can stay so for ever; the rest is a matter of seconds.
        self._settling |= checkpoint.problem is None
        if self._unready.get(checkpoint.source) != reason:
            self._say(f"{checkpoint.name}: not yet, {reason}")
        self._unready[checkpoint.source] = reason
        return False

    def _is_within(self, checkpoint: Checkpoint) -> bool:
        """Whether it is asked for; one beyond the last step shows that nothing before it is still to come."""
        last = self._settings.last_step
        if last is None or checkpoint.step is None or checkpoint.step <= last:
            return True
        self._done[checkpoint.source] = look_at(checkpoint)
        self._steps_done[checkpoint.series] = checkpoint.step
        return False

    def _past_the_last_step(self) -> bool:
        """Whether every source's series has its last step evaluated and nothing before it is under way."""
        last = self._settings.last_step
        if last is None or self._settling or len(self._steps_done) < len(self._settings.run.sources):
            return False
        return all(step >= last for step in self._steps_done.values())

    # ---- evaluating -----------------------------------------------------------------------------------

    def _evaluate(self, ready: list[Series]) -> None:
        looks = {one.source: look_at(one) for series in ready for one in series.checkpoints}
        try:
            settings = self._settings
            outcome = evaluate_series(ready, settings.run, self._journal, self._listener, settings.long_run)
        except SourceError as error:  # none of them has a config or weights that can be read
            for series in ready:
                for checkpoint in series.checkpoints:
                    self._fail(checkpoint, error.message)
        else:
            self._note(outcome)
        for series in ready:
            for checkpoint in series.checkpoints:
                self._done[checkpoint.source] = looks[checkpoint.source]
                step = -1 if checkpoint.step is None else checkpoint.step
                self._steps_done[series.name] = max(step, self._steps_done.get(series.name, -1))
        if self._has_ended():
            self._report.ended = Ended.PLATEAU

    def _note(self, outcome: Outcome) -> None:
        for checkpoint in outcome.scored:
            self._say(f"{checkpoint.name}: scored")
        for checkpoint in outcome.reused:
            self._say(f"{checkpoint.name}: was scored already")
        for checkpoint in (*outcome.scored, *outcome.reused):
            self._report.failures.pop(checkpoint.source, None)
        for failure in outcome.failed:
            self._fail(failure.checkpoint, failure.reason)
        self._report.scored += outcome.scored
        self._report.reused += outcome.reused

    def _fail(self, checkpoint: Checkpoint, reason: str) -> None:
        if look_at(checkpoint) is None:
            self._say(f"{checkpoint.name}: skipped, it was deleted before it was scored")
            return
        self._say(f"{checkpoint.name}: cannot be used: {reason}")
        self._report.failures[checkpoint.source] = reason


def _below_patterns(paths: list[Path]) -> list[Path]:
    """The folders to listen at: of a pattern, the one above its first wildcard."""
    found = []
    for path in paths:
        parts = path.expanduser().parts
        wild = next((i for i, part in enumerate(parts) if any(char in part for char in "*?[")), len(parts))
        found.append(Path(*parts[:wild]))
    return found
