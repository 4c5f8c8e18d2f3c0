"""Workers that hang are noticed, and those that are only slow are not."""

from __future__ import annotations

import pytest

from milepost.run.executors.vigil import (
    DEADLOCK_S,
    LEAST_FIRST_S,
    LEAST_S,
    PAUSE_S,
    SILENCE_S,
    SLACK,
    Vigil,
)

LOOK_S = 1.0


class Watched:
    """A worker that gives signs of life every second, on a clock of its own."""

    def __init__(self) -> None:
        self.now = self.cpu_s = 0.0
        self.vigil = Vigil(lambda: self.now)
        self.vigil.alive(1, self.cpu_s)
        self.vigil.moved(1)

    def hangs_within(
        self, seconds: float, *, alive: bool = True, computes: float = 1.0, expected_s: float | None = None
    ) -> str | None:
        """Let time pass; returns what is found to be wrong."""
        end = self.now + seconds
        while self.now < end:
            self.now += LOOK_S
            self.cpu_s += computes * LOOK_S
            if alive:
                self.vigil.alive(1, self.cpu_s)
            for worker, why in self.vigil.hanging({1}, lambda _: expected_s):
                assert worker == 1
                return why
        return None


def test_a_worker_without_a_sign_of_life_hangs() -> None:
    worker = Watched()
    assert worker.hangs_within(SILENCE_S, alive=False) is None
    assert worker.hangs_within(2, alive=False) == f"gave no sign of life for {SILENCE_S + 1:.0f} s"
    assert worker.hangs_within(SILENCE_S, alive=False) is None, "it is told once"


def test_a_worker_that_computes_nothing_for_long_is_in_a_deadlock() -> None:
    worker = Watched()
    assert worker.hangs_within(DEADLOCK_S, computes=1e-4) is None
    assert worker.hangs_within(2, computes=1e-4) == f"has computed nothing for {DEADLOCK_S + 1:.0f} s"


def test_a_worker_that_computes_may_take_as_long_as_it_needs_while_no_speed_is_known() -> None:
    assert Watched().hangs_within(10_000) is None


@pytest.mark.parametrize(("expected_s", "limit_s"), [(1.0, LEAST_S), (100.0, SLACK * 100.0)])
def test_a_shard_that_takes_far_longer_than_expected_never_ends(expected_s: float, limit_s: float) -> None:
    worker = Watched()
    worker.vigil.moved(1, has_scored=True)
    assert worker.hangs_within(limit_s, expected_s=expected_s) is None
    found = worker.hangs_within(2, expected_s=expected_s)
    assert found == f"took {limit_s + 1:.0f} s for what should take {expected_s:.1f} s"


def test_a_first_shard_may_compile() -> None:
    worker = Watched()
    assert worker.hangs_within(LEAST_FIRST_S, expected_s=1.0) is None
    assert worker.hangs_within(2, expected_s=1.0) is not None


def test_progress_sets_the_time_back() -> None:
    worker = Watched()
    for _ in range(5):
        worker.vigil.moved(1, has_scored=True)
        assert worker.hangs_within(LEAST_S - 1, expected_s=1.0) is None


def test_a_worker_without_a_unit_need_not_compute() -> None:
    worker = Watched()
    worker.now += 1
    for _ in range(int(2 * DEADLOCK_S)):
        worker.now += LOOK_S
        worker.vigil.alive(1, worker.cpu_s)
        assert list(worker.vigil.hanging(set(), lambda _: None)) == []


def test_after_a_pause_of_this_process_nobody_is_to_blame() -> None:
    worker = Watched()
    worker.now += 10 * SILENCE_S
    assert list(worker.vigil.hanging({1}, lambda _: 1.0)) == []
    assert worker.hangs_within(SILENCE_S - PAUSE_S, alive=False) is None
    assert worker.hangs_within(PAUSE_S + 2, alive=False) is not None


def test_who_gives_no_signs_of_life_is_not_watched() -> None:
    now = 0.0
    vigil = Vigil(lambda: now)
    vigil.moved(1)
    assert list(vigil.hanging({1}, lambda _: 1.0)) == []
