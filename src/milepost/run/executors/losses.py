"""Workers that die: whose fault it is, what is said, and how small the passes of the next one are."""

from __future__ import annotations

import logging
from collections import Counter

from milepost.errors import CheckpointError, MilepostError
from milepost.run.display.journal import AT_ONCE
from milepost.run.executors.driven_jobs import DrivenJobs
from milepost.run.executors.executor import WorkerPool
from milepost.run.executors.messages import Died
from milepost.run.executors.schedule import Cause, Loss, Schedule, Unit
from milepost.text.language import Phrase

MOST_HALVINGS = 3
DEATHS_WITHOUT_WORK = 20
"""Workers that die one after the other, without a shard scored by any, before the run is given up."""

logger = logging.getLogger("milepost.run")


class Losses:
    """Counts the deaths of workers."""

    def __init__(self, schedule: Schedule, jobs: DrivenJobs, pool: WorkerPool) -> None:
        self._schedule = schedule
        self._jobs = jobs
        self._pool = pool
        self._halvings: Counter[int] = Counter()
        """By worker."""
        self._without_work = 0
        """Deaths since a shard was scored."""
        self.any = False

    def forget(self) -> None:
        """Note that a shard was scored: workers do not all die at once."""
        self._without_work = 0

    def take(self, worker: int, unit: Unit | None, death: Died) -> int:
        """Take the unit of a dead worker back and say what happened.

        Returns:
            How often the worker in its place halves the tokens of a forward pass.

        Raises:
            MilepostError: so many have died without scoring anything that the run is given up.
        """
        self.any = True
        self._without_work += death.cause is not Cause.TAKEN
        if self._without_work > DEATHS_WITHOUT_WORK:
            raise MilepostError(
                Phrase(
                    "{n} workers died without scoring anything; the last: {how}",
                    n=self._without_work,
                    how=death.how,
                ),
                "run without --workers to see what is wrong",
            )
        stored = set() if unit is None else self._jobs.stored(unit)
        loss = self._schedule.lost(worker, stored, cause=death.cause)
        self._halvings[worker] = min(self._halvings[worker] + 1, MOST_HALVINGS)
        self._say(worker, loss, death)
        if unit is not None and loss.has_failed and loss.struck is None:
            error = CheckpointError(Phrase("workers died loading it, the last: {how}", how=death.how))
            self._jobs.refuse(unit.checkpoint, error)
        if unit is not None:
            self._jobs.close_finished(unit.checkpoint)
        return self._halvings[worker]

    def _say(self, worker: int, loss: Loss, death: Died) -> None:
        logger.warning(
            "%s died%s: %s; %sanother takes its place, with 1/%d of the tokens per forward pass",
            self._pool.describe(worker),
            "" if loss.unit is None else f" at {self._jobs.describe(loss.unit, loss.struck)}",
            death.how,
            "too many have died on this, so it is given up; " if loss.has_failed else "",
            1 << self._halvings[worker],
            extra=AT_ONCE,
        )
