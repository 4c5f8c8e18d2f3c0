"""A worker gives signs of life from its start on."""

from __future__ import annotations

from milepost.run.executors.heartbeat import heartbeat
from milepost.run.executors.messages import Alive
from milepost.run.executors.vigil import SILENCE_S, Vigil


def test_a_worker_that_hangs_before_its_first_beat_is_noticed() -> None:
    told: list[Alive] = []
    now = 0.0
    vigil = Vigil(lambda: now)
    with heartbeat(told.append):
        vigil.alive(0, told[0].cpu_s)
    found: list[tuple[int, str]] = []
    while now < 2 * SILENCE_S:
        now += 1
        found += vigil.hanging({0}, lambda _: None)
    assert [worker for worker, _ in found] == [0]
