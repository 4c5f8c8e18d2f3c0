"""Notice workers that hang: stopped, in a deadlock, or at something that never ends.

Only workers that give signs of life (`messages.Alive`) are watched. Elements of a Slurm array give none: a
job may wait in the queue for days, and Slurm ends one that hangs at its time limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

SILENCE_S = 60.0
"""Time without a sign of life after which a worker hangs: it was stopped, or its machine does not answer."""
DEADLOCK_S = 300.0
"""Time in which a worker with a unit computes at least `LEAST_CPU_S`, or it hangs in a deadlock."""
LEAST_CPU_S = 0.2
SLACK = 20.0
"""A shard that takes so many times longer than expected will not end."""
LEAST_S, LEAST_FIRST_S = 300.0, 900.0
"""Time that every shard has, and a worker's first, which may compile."""
PAUSE_S = 10.0
"""A longer time between two looks means that this process itself was stopped, and the workers with it."""


@dataclass(slots=True)
class _Watched:
    """The times of a worker's last signs."""

    heard: float
    cpu_s: float
    computed: float
    """When its CPU time was last found to have grown."""
    moved: float
    """When it last told of progress, or got a unit."""
    is_first: bool = True
    """Whether it has scored nothing yet."""


class Vigil:
    """Knows when each worker last gave a sign of life."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._watched: dict[int, _Watched] = {}
        self._looked = clock()

    def alive(self, worker: int, cpu_s: float) -> None:
        """Note a sign of life."""
        now = self._clock()
        one = self._watched.setdefault(worker, _Watched(now, cpu_s, now, now))
        one.heard = now
        if cpu_s - one.cpu_s >= LEAST_CPU_S:
            one.cpu_s, one.computed = cpu_s, now

    def moved(self, worker: int, *, has_scored: bool = False) -> None:
        """Note progress: a unit was given to a worker, or it told of something that it has done."""
        one = self._watched.get(worker)
        if one is not None:
            one.moved = one.computed = self._clock()
            one.is_first &= not has_scored

    def gone(self, worker: int) -> None:
        """Forget a worker that is dead."""
        self._watched.pop(worker, None)

    def hanging(
        self, busy: Container[int], expected_s: Callable[[int], float | None]
    ) -> Iterator[tuple[int, str]]:
        """Yield each worker that hangs now, with what is wrong, and forget it.

        Args:
            busy: the workers with a unit.
            expected_s: how long the shard that a worker is at should take; None if nobody knows.
        """
        now = self._clock()
        slept = now - self._looked
        self._looked = now
        if slept > PAUSE_S:
            for one in self._watched.values():
                one.heard, one.computed, one.moved = (
                    at + slept for at in (one.heard, one.computed, one.moved)
                )
            return
        for worker, one in list(self._watched.items()):
            is_busy = worker in busy
            why = _problem(one, now, is_busy, expected_s(worker) if is_busy else None)
            if why is not None:
                del self._watched[worker]
                yield worker, why


def _problem(one: _Watched, now: float, is_busy: bool, expected_s: float | None) -> str | None:
    """Return what is wrong with a worker; None if nothing is."""
    if now - one.heard > SILENCE_S:
        return f"gave no sign of life for {now - one.heard:.0f} s"
    if is_busy and now - one.computed > DEADLOCK_S:
        return f"has computed nothing for {now - one.computed:.0f} s"
    if expected_s is not None:
        limit_s = max(LEAST_FIRST_S if one.is_first else LEAST_S, SLACK * expected_s)
        if now - one.moved > limit_s:
            return f"took {now - one.moved:.0f} s for what should take {expected_s:.1f} s"
    return None
