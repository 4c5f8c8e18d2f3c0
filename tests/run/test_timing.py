"""One clock measures a run and says the time left: little, and true."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.run import timing
from milepost.run.timing import Clock, format_duration
from milepost.types import Checkpoint


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(
        series="run", name=f"step-{step}", step=step, source="", format="safetensors", location=Path()
    )


class Time:
    """Time that passes when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(timing.time, "monotonic", lambda: self.now)


def score(clock: Clock, time: Time, seconds: list[float], n_tokens: int) -> list[str]:
    """Score a shard of the first checkpoint in each of the times; returns the announcements."""
    lines = []
    for one in seconds:
        time.now += one
        clock.advance(checkpoint(1), n_tokens)
        lines.append(clock.announcement())
    return [line for line in lines if line]


def test_a_long_time_left_is_announced_once_from_the_measured_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    time, clock = Time(monkeypatch), Clock({checkpoint(1): 10_000})
    clock.start(checkpoint(1))
    assert score(clock, time, [4, 4, 4, 4], 200) == ["about 3 min left (50 tokens/s)"]


def test_the_first_shard_of_a_gpu_is_not_measured_as_it_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    time, clock = Time(monkeypatch), Clock({checkpoint(1): 10_000})
    clock.skips_first = True
    clock.start(checkpoint(1))
    assert score(clock, time, [200], 200) == []
    assert clock.left_s is None
    assert score(clock, time, [4, 4], 200) == ["about 3 min left (50 tokens/s)"]


def test_a_short_time_left_is_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    time, clock = Time(monkeypatch), Clock({checkpoint(1): 2_000})
    clock.start(checkpoint(1))
    assert score(clock, time, [10], 1_000) == []


def test_the_estimate_from_the_first_docs_stands_until_the_speed_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time, clock = Time(monkeypatch), Clock({checkpoint(1): 1_000, checkpoint(2): 1_000})
    assert clock.left_s is None
    clock.expect(0.1)
    clock.has_announced = True
    clock.start(checkpoint(1))
    assert clock.left_s == pytest.approx(200)
    assert score(clock, time, [1], 100) == []
    assert clock.left_s == pytest.approx(190), "a second says little"
    score(clock, time, [8], 800)
    assert clock.left_s == pytest.approx(11)
    time.now += 5
    assert clock.left_s == pytest.approx(6), "time passes between two shards as well"


def test_what_other_processes_score_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    time, clock = Time(monkeypatch), Clock({checkpoint(1): 70, checkpoint(2): 70})
    clock.start(checkpoint(1))
    score(clock, time, [2], 50)
    assert clock.leave(checkpoint(1)) == 20
    assert clock.tokens_left == 70
    clock.start(checkpoint(2))
    assert clock.leave(checkpoint(2)) == 70
    assert [(lap.seconds, lap.n_tokens) for lap in clock.laps.values()] == [(2, 50), (0, 0)]


def test_checkpoints_that_several_workers_score_at_a_time_make_one_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time, clock = Time(monkeypatch), Clock({checkpoint(1): 100, checkpoint(2): 100})
    clock.start(checkpoint(1))
    time.now += 1
    clock.start(checkpoint(2))
    for step in (1, 2, 1, 2):
        time.now += 1
        clock.advance(checkpoint(step), 25)
    assert clock.left_s == pytest.approx(5)
    assert (clock.leave(checkpoint(2)), clock.leave(checkpoint(1))) == (50, 50)
    assert [lap.seconds for lap in clock.laps.values()] == [5, 4]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.2 s"), (59.6, "60 s"), (150, "2 min"), (7200, "2.0 h")]
)
def test_durations_are_written_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
