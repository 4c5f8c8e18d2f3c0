"""One clock measures a run and says the time left: little, and true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from milepost.results.progress import read_progress
from milepost.run.display import timing
from milepost.run.display.timing import Clock
from milepost.store import ResultsFolder, ResultsIndex
from milepost.store.live_index import LiveIndex
from milepost.store.status import read_status
from milepost.store.workers import Worker
from milepost.types.checkpoints import Checkpoint
from tests.analysis.made import rising, write_results
from tests.cli.called import milepost


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(
        series="run", name=f"step-{step}", step=step, source="", format="safetensors", location=Path()
    )


class Time:
    """Time that passes when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(timing.time, "monotonic", lambda: self.now)


def of(*work: int) -> dict[Checkpoint, dict[str, int]]:
    """Work on one task for checkpoints 1, 2, ..."""
    return {checkpoint(step): {"farm": amount} for step, amount in enumerate(work, start=1)}


def score(clock: Clock, time: Time, seconds: list[float], work: int, task: str = "farm") -> list[str]:
    """Score a shard of the first checkpoint in each of the times; returns the announcements."""
    lines = []
    for one in seconds:
        time.now += one
        clock.advance(checkpoint(1), task, work)
        lines.append(clock.announcement())
    return [line for line in lines if line]


def test_a_long_time_left_is_announced_once_after_the_first_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    time, clock = Time(monkeypatch), Clock(of(10_000))
    clock.start(checkpoint(1))
    assert clock.left_s is None
    assert score(clock, time, [4, 4, 4, 4], 200) == ["about 3 min left"]


def test_the_first_shard_of_a_gpu_is_not_measured_as_it_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    time, clock = Time(monkeypatch), Clock(of(10_000))
    clock.skips_first = True
    clock.start(checkpoint(1))
    assert score(clock, time, [200], 200) == []
    assert clock.left_s is None
    assert score(clock, time, [4], 200) == ["about 3 min left"]
    assert clock.left_s == pytest.approx(9_600 / 50)


def test_a_short_time_left_is_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    time, clock = Time(monkeypatch), Clock(of(2_000))
    clock.start(checkpoint(1))
    assert score(clock, time, [10], 1_000) == []


def test_loading_the_model_says_nothing_of_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    time, clock = Time(monkeypatch), Clock(of(1_000))
    clock.start(checkpoint(1))
    time.now += 100
    clock.begin_scoring()
    score(clock, time, [5], 500)
    assert clock.left_s == pytest.approx(5)
    time.now += 2
    assert clock.left_s == pytest.approx(3), "time passes between two shards as well"


def test_shards_of_workers_count_with_their_own_time_and_not_with_the_time_to_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time, clock = Time(monkeypatch), Clock(of(1_000, 1_000))
    clock.start(checkpoint(1))
    clock.start(checkpoint(2))
    time.now += 100  # both load
    clock.advance(checkpoint(1), "farm", 500, seconds=10 / 2)
    clock.advance(checkpoint(2), "farm", 500, seconds=10 / 2)
    assert clock.left_s == pytest.approx(10), "two workers need ten seconds for two shards"


def test_what_the_first_docs_say_of_other_tasks_is_scaled_by_what_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time, clock = Time(monkeypatch), Clock({checkpoint(1): {"farm": 1_000_000, "texts": 1_000_000}})
    clock.start(checkpoint(1))
    clock.speeds.expected = {"farm": 0.001, "texts": 0.010}
    assert clock.left_s == pytest.approx(11_000)
    score(clock, time, [500], 1_000_000)  # twice as fast as the first docs were
    assert clock.left_s == pytest.approx(5_000)


def test_each_task_gets_its_own_speed_once_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    time, clock = Time(monkeypatch), Clock({checkpoint(step): {"a": 10**6, "b": 10**6} for step in (1, 2)})
    clock.start(checkpoint(1))
    score(clock, time, [100], 10**6, "a")
    assert clock.left_s == pytest.approx(300)
    score(clock, time, [900], 10**6, "b")
    assert clock.left_s == pytest.approx(1000, rel=0.02)
    clock.leave(checkpoint(1))
    clock.start(checkpoint(2))
    time.now += 100
    clock.advance(checkpoint(2), "a", 10**6)
    assert clock.left_s == pytest.approx(900, rel=0.02)


def test_a_further_checkpoint_takes_at_least_as_long_as_its_download(monkeypatch: pytest.MonkeyPatch) -> None:
    time, clock = Time(monkeypatch), Clock(of(1_000, 1_000, 1_000))
    clock.start(checkpoint(1))
    score(clock, time, [10], 1_000)
    clock.leave(checkpoint(1))
    assert clock.left_s == pytest.approx(20)
    clock.read_s = 60
    assert clock.left_s == pytest.approx(120)


def test_the_fixed_time_of_each_checkpoint_counts_once_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    time, clock = Time(monkeypatch), Clock(of(1_000, 1_000, 1_000))
    for step in (1, 2):
        clock.start(checkpoint(step))
        time.now += 3
        clock.begin_scoring()
        time.now += 10
        clock.advance(checkpoint(step), "farm", 1_000)
        clock.lap(checkpoint(step)).scoring_s = 10
        clock.leave(checkpoint(step))
    assert clock.left_s == pytest.approx(13)
    clock.lap(checkpoint(1)).metrics_s = 4
    assert clock.left_s == pytest.approx(17), "the metrics of the last checkpoint come after its scores"


def test_models_that_come_after_are_counted_in_full_whatever_is_left_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time, clock = Time(monkeypatch), Clock(of(200), later={"farm": 2_000})
    clock.start(checkpoint(1))
    score(clock, time, [10], 100)
    assert clock.left_s == pytest.approx(10 + 200)


def test_what_other_processes_score_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    time, clock = Time(monkeypatch), Clock(of(70, 70))
    clock.start(checkpoint(1))
    score(clock, time, [2], 50)
    assert clock.leave(checkpoint(1)) == 20
    assert clock.work_left == 70
    clock.start(checkpoint(2))
    assert clock.leave(checkpoint(2)) == 70
    assert [(lap.seconds, lap.work) for lap in clock.laps.values()] == [(2, 50), (0, 0)]


def test_checkpoints_that_several_workers_score_at_a_time_make_one_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time, clock = Time(monkeypatch), Clock(of(100, 100))
    clock.start(checkpoint(1))
    clock.start(checkpoint(2))
    for step in (1, 2, 1, 2):
        time.now += 1
        clock.advance(checkpoint(step), "farm", 25)
    assert clock.left_s == pytest.approx(4)
    assert (clock.leave(checkpoint(2)), clock.leave(checkpoint(1))) == (50, 50)
    assert [lap.seconds for lap in clock.laps.values()] == [4, 4]


def test_the_time_left_is_noted_for_status_and_processes_that_share_the_work_take_less(
    tmp_path: Path,
) -> None:
    folder = write_results(tmp_path, rising("arc_easy", [100, 200], low=0.3, high=0.5, n=400))
    with Worker(ResultsFolder(folder), {"command": "milepost run"}) as worker:
        worker.note_left(600)
        status = read_status(ResultsIndex.open(folder))
        assert status.left_s == pytest.approx(600, abs=30)
        twins = replace(status, workers=status.workers * 2)
        assert twins.left_s == pytest.approx(300, abs=15)
        assert "about 10 min left" in milepost("status", folder).out
        shown = read_progress(LiveIndex.open(folder))
        assert shown.seconds_left == pytest.approx(600, abs=30), "pages show the same estimate"
    assert read_status(ResultsIndex.open(folder)).left_s is None
