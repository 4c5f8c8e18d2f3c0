"""Workers on this machine: the same records as one process, whatever dies."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.errors import MilepostError
from milepost.run.display import timing
from milepost.run.executors import vigil
from milepost.run.executors.driver import Driver
from milepost.run.executors.local import places, process
from milepost.run.executors.schedule import Schedule
from milepost.run.metrics import finishing
from milepost.run.metrics.metrics_worker import MetricsWorker
from tests.faults.records import leftovers, score_files
from tests.run.executors.local import dying
from tests.run.executors.same_records import assert_same_records


def forget(what: str) -> None:
    """Let something happen once more; see `dying.has_happened`."""
    (Path(os.environ["MILEPOST_CACHE"]) / what).unlink(missing_ok=True)


@pytest.mark.parametrize("n_workers", [1, 2, pytest.param(4, marks=pytest.mark.slow)])
def test_workers_write_the_records_that_one_process_writes(
    asked: dict[str, Any],
    alone: Path,
    tiny_run: Path,
    tmp_path: Path,
    n_workers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "usable_cores", lambda: 4)
    results = milepost.evaluate(tiny_run, **asked, output_path=tmp_path / "out", workers=n_workers)
    assert results.scored == ("tiny-run/checkpoint-10", "tiny-run/checkpoint-20", "tiny-run/checkpoint-30")
    assert_same_records(results.path, alone)
    assert leftovers(results.path) == []
    again = milepost.evaluate(tiny_run, **asked, output_path=tmp_path / "out", workers=n_workers)
    assert len(again.reused) == 3


@pytest.mark.parametrize(
    ("work", "ended", "n_by_workers", "said"),
    [
        (process.work, "_end_metrics", 2, "scored, "),
        pytest.param(
            dying.have_no_tasks, "_end_metrics", 0, "left metrics to the driver: TaskError: the data are",
            marks=pytest.mark.slow,
        ),
        pytest.param(dying.be_killed_at_metrics, "_replace", 0, "takes its place", marks=pytest.mark.slow),
    ],
    ids=["computed", "left", "killed"],
)  # fmt: skip
def test_a_worker_with_nothing_to_score_computes_the_metrics_that_wait(
    asked: dict[str, Any],
    alone: Path,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    work: Callable[..., None],
    ended: str,
    n_by_workers: int,
    said: str,
) -> None:
    has_helped = threading.Event()
    compute, end = MetricsWorker._compute_in_thread, getattr(Driver, ended)

    def compute_after_the_worker(*arguments: Any) -> Any:
        assert has_helped.wait(timeout=120)
        return compute(*arguments)

    def ended_by(driver: Driver, *arguments: Any) -> None:
        end(driver, *arguments)
        has_helped.set()

    monkeypatch.setattr(process, "work", work)
    monkeypatch.setattr(MetricsWorker, "_compute_in_thread", compute_after_the_worker)
    monkeypatch.setattr(Driver, ended, ended_by)
    monkeypatch.setattr(finishing, "WORTH_S", -1.0)
    results = milepost.evaluate(
        tiny_run, **{**asked, "verbosity": "INFO"}, output_path=tmp_path / "out", workers=1
    )
    assert len(results.scored) == 3, results.failures
    assert_same_records(results.path, alone)
    assert leftovers(results.path) == []
    logs = [path.read_text() for path in results.path.glob("checkpoint-*/tiny-run/evaluation.log")]
    assert sum("by a worker" in log for log in logs) >= n_by_workers
    assert ("by a worker" in "".join(logs)) == bool(n_by_workers)
    assert said in capsys.readouterr().err


def test_the_time_left_is_estimated_by_the_time_that_each_shard_took_its_worker(
    asked: dict[str, Any], tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took: list[float] = []
    add = timing.Speeds.add

    def added(speeds: timing.Speeds, task: str, seconds: float, work: int) -> None:
        took.append(seconds)
        add(speeds, task, seconds, work)

    scored: list[float] = []
    schedule_scored = Schedule.scored

    def noted(schedule: Schedule, worker: int, shard: int, seconds: float) -> None:
        scored.append(seconds)
        schedule_scored(schedule, worker, shard, seconds)

    monkeypatch.setattr(timing.Speeds, "add", added)
    monkeypatch.setattr(Schedule, "scored", noted)
    milepost.evaluate(tiny_run, **asked, output_path=tmp_path / "out", workers=2, steps="10:10")
    assert len(took) == len(scored) > 2
    assert all(own in (seconds, seconds / 2) for own, seconds in zip(took, scored, strict=True))


def test_a_worker_that_is_killed_is_named_and_replaced_and_nothing_is_scored_twice(
    asked: dict[str, Any],
    alone: Path,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    forget("killed-once")
    monkeypatch.setattr(process, "work", dying.be_killed_once)
    results = milepost.evaluate(tiny_run, **asked, output_path=tmp_path / "out", workers=2)
    assert len(results.scored) == 3
    assert_same_records(results.path, alone)
    assert leftovers(results.path) == []
    said = capsys.readouterr().err
    assert said.count("died at tiny-run checkpoint-") == 1
    assert "was killed by SIGKILL, from outside or for its memory" in said
    assert "with 1/2 of the tokens per forward pass" in said


@pytest.mark.parametrize(
    ("die", "named"),
    [(dying.segfault_at_a_shard, "SIGSEGV"), (dying.be_killed_at_a_shard, "SIGKILL")],
    ids=["crash", "kill"],
)
def test_a_shard_that_three_workers_die_on_is_named_and_the_rest_goes_on(
    asked: dict[str, Any],
    alone: Path,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    die: Callable[..., None],
    named: str,
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(process, "work", die)
    results = milepost.evaluate(tiny_run, **asked, output_path=out, workers=1, steps="10:10")
    assert list(results.failures) == ["tiny-run/checkpoint-10"]
    assert (
        "workers died on shard 2 of task who, at least 3 on each"
        in results.failures["tiny-run/checkpoint-10"]
    )
    said = capsys.readouterr().err
    assert said.count(f"was killed by {named}") == 3
    assert [said.count(f"with 1/{n} of the tokens") for n in (2, 4, 8)] == [1, 1, 1]
    assert len(score_files(out)) == len(score_files(alone)) // 3 - 1
    monkeypatch.undo()
    assert len(milepost.evaluate(tiny_run, **asked, output_path=out, workers=1).scored) == 3
    assert_same_records(out, alone)


@pytest.mark.parametrize(
    ("hang", "note", "limits", "said"),
    [
        (dying.be_stopped_once, "stopped-once", {"SILENCE_S": 6.0}, "gave no sign of life for"),
        (dying.wait_for_ever_once, "waited-once", {"DEADLOCK_S": 8.0}, "has computed nothing for"),
    ],
    ids=["stopped", "deadlock"],
)
def test_a_worker_that_hangs_is_killed_and_replaced(
    asked: dict[str, Any],
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    hang: Callable[..., None],
    note: str,
    limits: dict[str, float],
    said: str,
) -> None:
    forget(note)
    monkeypatch.setattr(process, "work", hang)
    for name, seconds in limits.items():
        monkeypatch.setattr(vigil, name, seconds)
    results = milepost.evaluate(tiny_run, **asked, output_path=tmp_path / "out", workers=1, steps="10:10")
    assert len(results.scored) == 1, results.failures
    assert leftovers(results.path) == []
    printed = capsys.readouterr().err
    assert printed.count("takes its place") >= 1  # on a busy machine also one that was only slow
    assert re.search(rf"process \d+ {said} \d+ s, and was killed", printed)


def test_workers_that_die_as_they_start_end_the_run_with_a_line(
    asked: dict[str, Any], tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "work", dying.die_at_start)
    with pytest.raises(
        MilepostError, match=r"21 workers died without scoring anything; .* ended with status 3"
    ):
        milepost.evaluate(tiny_run, **asked, output_path=tmp_path / "out", workers=2)
