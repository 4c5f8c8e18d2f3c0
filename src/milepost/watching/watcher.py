"""Watch a run: look, evaluate what is ready, wait, until the last step or a plateau.

All that is known of earlier work lies in the results folder, so a watch that is killed and started again goes
on, and several watches on one folder share the checkpoints as several runs do.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from milepost.errors import SourceError
from milepost.run.callbacks import RunCallback
from milepost.run.display.journal import Journal
from milepost.run.evaluation import check_device, check_run, evaluate_series, find_series
from milepost.run.outcome import Outcome
from milepost.sources.adapter_base import HUB_SCHEME
from milepost.text.language import _
from milepost.types.checkpoints import Checkpoint, Series
from milepost.watching.config import WatchConfig
from milepost.watching.readiness import Readiness, Snapshot, take_snapshot
from milepost.watching.waiting import Waiter

HUB_EVERY_S = 300.0
"""Time between two looks at the Hub for new revisions."""
SETTLING_S = 1.0
"""Time between two looks while something is still being written, at most."""

logger = logging.getLogger("milepost.watching")


class EndReason(enum.Enum):
    """The reason why a watch ended by itself."""

    LAST_STEP = "last step"
    PLATEAU = "plateau"


@dataclass(slots=True)
class WatchReport:
    """Result for the checkpoints of a watch."""

    ended: EndReason | None = None
    scored: list[Checkpoint] = field(default_factory=list)
    reused: list[Checkpoint] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """By address, the reason why a checkpoint has no metrics; not of one that was repaired later."""


def watch_run(
    config: WatchConfig,
    journal: Journal,
    callback: RunCallback,
    *,
    say: Callable[[str], None],
    has_ended: Callable[[], bool],
) -> WatchReport:
    """Evaluate checkpoints as they become complete.

    Args:
        callback: called for each checkpoint that has metrics.
        say: called with a line on what the watch waits for, and on what became of each checkpoint.
        has_ended: called after each round; True ends the watch (`--stop-when`).

    Raises:
        MilepostError: the command is wrong: the tasks, the output folder, an address on the Hub.
    """
    check_run(config.run)
    check_device(config.run)
    return _Watcher(config, journal, callback, say, has_ended).run()


class _Watcher:
    def __init__(
        self,
        config: WatchConfig,
        journal: Journal,
        callback: RunCallback,
        say: Callable[[str], None],
        has_ended: Callable[[], bool],
    ) -> None:
        self._config = config
        self._journal = journal
        self._callback = callback
        self._say = say
        self._has_ended = has_ended
        self._readiness = Readiness(config.settle_s)
        self._done: dict[str, Snapshot | None] = {}
        """By address, the files of each evaluated checkpoint: overwritten, it is a new one."""
        self._steps_done: dict[str, int] = {}
        """By series, the largest step that was evaluated."""
        self._unready: dict[str, str] = {}
        """By address, the reason why a checkpoint is not ready."""
        self._missing: dict[str, str] = {}
        """By source, the reason why it has no checkpoint yet."""
        self._settling = False
        self._has_looked = False
        self._report = WatchReport()

    def run(self) -> WatchReport:
        local = [Path(source) for source in self._config.run.sources if not source.startswith(HUB_SCHEME)]
        with Waiter(_below_patterns(local)) as waiter:
            while self._report.ended is None:
                waiter.listen()
                ready = self._look()
                if ready:
                    self._evaluate(ready)
                elif self._past_the_last_step():
                    self._report.ended = EndReason.LAST_STEP
                else:
                    waiter.wait(self._pause_s(waiter))
        self._report.failures.update(self._unready)
        return self._report

    def _pause_s(self, waiter: Waiter) -> float:
        on_hub = any(source.startswith(HUB_SCHEME) for source in self._config.run.sources)
        longest = self._config.every_s or (HUB_EVERY_S if on_hub else waiter.longest_s)
        if self._settling:
            longest = min(longest, max(self._config.settle_s / 4, 0.05), SETTLING_S)
        return longest

    # ---- looking --------------------------------------------------------------------------------------

    def _look(self) -> list[Series]:
        """Return what is ready and was not evaluated yet, in the order of `--order`."""
        self._settling = False
        ready = []
        for series in self._discover():
            checkpoints = [
                checkpoint
                for checkpoint in series.checkpoints
                if self._is_new(checkpoint) and self._is_ready(checkpoint) and self._is_within(checkpoint)
            ]
            if self._config.order == "newest":
                checkpoints = checkpoints[-1:]  # one at a time, so that one that is newer still comes next
            if checkpoints:
                ready.append(replace(series, checkpoints=tuple(checkpoints)))
        return ready

    def _discover(self) -> tuple[Series, ...]:
        """List every source once; a source that does not exist yet does not hide the others."""
        missing: dict[str, str] = {}

        def skip(source: str, error: SourceError) -> None:
            if source.startswith(HUB_SCHEME) and not self._has_looked:
                raise error  # no such repository: nothing will come of waiting
            if self._missing.get(source) != error.message:
                self._say(_("waiting: {reason}", reason=error.for_reader()[0]))
            missing[source] = error.message

        found = find_series(self._config.run, skip)
        self._missing, self._has_looked = missing, True
        return found

    def _is_new(self, checkpoint: Checkpoint) -> bool:
        known = checkpoint.source in self._done
        return not (known and self._done[checkpoint.source] == take_snapshot(checkpoint))

    def _is_ready(self, checkpoint: Checkpoint) -> bool:
        reason = self._readiness.waits_for(checkpoint)
        if reason is None:
            self._unready.pop(checkpoint.source, None)
            return True
        # What is wrong with its content can stay so for ever; the rest is a matter of seconds.
        self._settling |= checkpoint.problem is None
        if self._unready.get(checkpoint.source) != reason:
            self._say(_("{checkpoint}: not yet, {reason}", checkpoint=checkpoint.name, reason=reason))
        self._unready[checkpoint.source] = reason
        return False

    def _is_within(self, checkpoint: Checkpoint) -> bool:
        """Return whether to evaluate a checkpoint: its step is not beyond the last one."""
        last = self._config.last_step
        if last is None or checkpoint.step is None or checkpoint.step <= last:
            return True
        # A checkpoint beyond the last step shows that all before it are saved.
        self._done[checkpoint.source] = take_snapshot(checkpoint)
        self._steps_done[checkpoint.series] = checkpoint.step
        return False

    def _past_the_last_step(self) -> bool:
        """Return whether the last step of every source is evaluated and nothing before it is under way."""
        last = self._config.last_step
        if last is None or self._settling or len(self._steps_done) < len(self._config.run.sources):
            return False
        return all(step >= last for step in self._steps_done.values())

    # ---- evaluating -----------------------------------------------------------------------------------

    def _evaluate(self, ready: list[Series]) -> None:
        checkpoints = [checkpoint for series in ready for checkpoint in series.checkpoints]
        snapshots = {checkpoint.source: take_snapshot(checkpoint) for checkpoint in checkpoints}
        config = self._config
        try:
            outcome = evaluate_series(ready, config.run, self._journal, self._callback, config.long_run)
        except SourceError as error:  # none of them has a config or weights that can be read
            for checkpoint in checkpoints:
                self._fail(checkpoint, error.message)
        else:
            self._note(outcome)
        for checkpoint in checkpoints:
            self._done[checkpoint.source] = snapshots[checkpoint.source]
            step = -1 if checkpoint.step is None else checkpoint.step
            self._steps_done[checkpoint.series] = max(step, self._steps_done.get(checkpoint.series, -1))
        if self._has_ended():
            self._report.ended = EndReason.PLATEAU

    def _note(self, outcome: Outcome) -> None:
        for checkpoint in outcome.scored:
            self._say(_("{checkpoint}: scored", checkpoint=checkpoint.name))
        for checkpoint in outcome.reused:
            self._say(_("{checkpoint}: was scored already", checkpoint=checkpoint.name))
        for checkpoint in (*outcome.scored, *outcome.reused):
            self._report.failures.pop(checkpoint.source, None)
        for failure in outcome.failed:
            self._fail(failure.checkpoint, failure.reason)
        self._report.scored += outcome.scored
        self._report.reused += outcome.reused

    def _fail(self, checkpoint: Checkpoint, reason: str) -> None:
        if take_snapshot(checkpoint) is None:
            self._say(
                _("{checkpoint}: skipped, it was deleted before it was scored", checkpoint=checkpoint.name)
            )
            return
        self._say(_("{checkpoint}: cannot be used: {reason}", checkpoint=checkpoint.name, reason=reason))
        self._report.failures[checkpoint.source] = reason


def _below_patterns(paths: list[Path]) -> list[Path]:
    """Return the folders to listen at: of a pattern, the one above its first wildcard."""
    found = []
    for path in paths:
        parts = path.expanduser().parts
        wild = next((i for i, part in enumerate(parts) if any(char in part for char in "*?[")), len(parts))
        found.append(Path(*parts[:wild]))
    return found
