"""Workers on this machine: the same records as one process, whatever dies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.errors import MilepostError
from milepost.run import timing
from milepost.run.config import EvalConfig
from milepost.run.executors import local_workers
from milepost.run.executors.choice import local_places
from milepost.run.executors.local_workers import Place
from milepost.run.executors.units import Schedule
from tests.faults.records import leftovers, score_files
from tests.run.executors import dying
from tests.run.executors.same_records import assert_same_records
from tests.run.own_tasks import write_tasks


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Options of runs over two scored tasks and one with texts, in many shards."""
    tasks = write_tasks(tmp_path_factory.mktemp("tasks"))
    return {"tasks": "where,who,prose", "include_path": tasks, "shard_tokens": 60, "verbosity": "WARNING"}


@pytest.fixture(scope="module")
def alone(asked: dict[str, Any], tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one process."""
    return milepost.evaluate(tiny_run, **asked, output_path=tmp_path_factory.mktemp("alone") / "out").path


@pytest.mark.parametrize("n_workers", [1, 2, pytest.param(4, marks=pytest.mark.slow)])
def test_workers_write_the_records_that_one_process_writes(
    asked: dict[str, Any], alone: Path, tiny_run: Path, tmp_path: Path, n_workers: int
) -> None:
    results = milepost.evaluate(tiny_run, **asked, output_path=tmp_path / "out", workers=n_workers)
    assert results.scored == ("tiny-run/checkpoint-10", "tiny-run/checkpoint-20", "tiny-run/checkpoint-30")
    assert_same_records(results.path, alone)
    assert leftovers(results.path) == []
    again = milepost.evaluate(tiny_run, **asked, output_path=tmp_path / "out", workers=n_workers)
    assert len(again.reused) == 3


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
    (Path(os.environ["MILEPOST_CACHE"]) / "died-once").unlink(missing_ok=True)
    monkeypatch.setattr(local_workers, "_work", dying.die_once)
    results = milepost.evaluate(tiny_run, **asked, output_path=tmp_path / "out", workers=2)
    assert len(results.scored) == 3
    assert_same_records(results.path, alone)
    assert leftovers(results.path) == []
    said = capsys.readouterr().err
    assert said.count("died at tiny-run checkpoint-") == 1
    assert "was killed by SIGKILL from outside; the system has not run out of memory" in said
    assert "with 1/2 of the tokens per forward pass" in said


def test_a_shard_that_three_workers_die_on_is_named_and_the_rest_goes_on(
    asked: dict[str, Any],
    alone: Path,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(local_workers, "_work", dying.die_of_a_shard)
    results = milepost.evaluate(tiny_run, **asked, output_path=out, workers=1, steps="10:20")
    assert list(results.failures) == ["tiny-run/checkpoint-10", "tiny-run/checkpoint-20"]
    assert (
        "workers died on shard 2 of task who, at least 3 on each"
        in results.failures["tiny-run/checkpoint-10"]
    )
    assert capsys.readouterr().err.count("was killed by SIGSEGV") == 6
    assert len(score_files(out)) == len(score_files(alone)) * 2 // 3 - 2
    monkeypatch.undo()
    assert len(milepost.evaluate(tiny_run, **asked, output_path=out, workers=1).scored) == 3
    assert_same_records(out, alone)


def test_workers_that_die_as_they_start_end_the_run_with_a_line(
    asked: dict[str, Any], tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_workers, "_work", dying.die_at_start)
    with pytest.raises(
        MilepostError, match=r"21 workers died without scoring anything; .* ended with status 3"
    ):
        milepost.evaluate(tiny_run, **asked, output_path=tmp_path / "out", workers=2)


# ---- where workers compute ----------------------------------------------------------------------------


def config(**options: Any) -> EvalConfig:
    return EvalConfig.from_options("run", "where", output_path="out", **options)


def with_gpus(monkeypatch: pytest.MonkeyPatch, n: int, cores: int = 16, visible: str = "") -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
    monkeypatch.setattr("milepost.run.executors.choice.cores", lambda: cores)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_several_gpus_get_a_worker_each_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 4)
    assert local_places(config()) == [Place("cuda", 4, str(number)) for number in range(4)]
    assert local_places(config(devices="2,0")) == [Place("cuda", 8, "2"), Place("cuda", 8, "0")]
    assert local_places(config(workers=1)) == [Place("cuda", 16, "0")]
    assert local_places(config(device="cuda:1", workers=1)) == [Place("cuda", 16, "1")]
    assert local_places(config(device="cpu")) is None


def test_gpus_are_counted_among_the_visible_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 2, visible="3,GPU-8a")
    assert [place.gpu for place in local_places(config(workers="auto")) or ()] == ["3", "GPU-8a"]


def test_one_device_is_used_by_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 1)
    assert local_places(config()) is None
    with_gpus(monkeypatch, 0)
    assert local_places(config()) is None


def test_on_a_cpu_workers_divide_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 0)
    assert local_places(config(workers="auto")) == [Place("cpu", 4)] * 4
    assert local_places(config(workers=2)) == [Place("cpu", 8)] * 2
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert local_places(config(workers=2)) == [Place("cpu", 3)] * 2
    with_gpus(monkeypatch, 0, cores=2)
    assert local_places(config(workers="auto")) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 3}, "3 workers, and 2 devices"),
        ({"devices": "0,2"}, "there is no GPU 2 here"),
        ({"devices": "0,0"}, "--devices '0,0' is not a list of GPUs"),
        ({"devices": "a"}, "--devices 'a' is not a list of GPUs"),
        ({"devices": "0", "device": "cpu"}, "--devices names GPUs"),
        ({"workers": 2, "device": "cuda:0"}, "2 workers, and 1 devices"),
        ({"workers": 0}, "--workers 0 is not a number of workers"),
        ({"workers": "many"}, "--workers 'many' is not a number of workers"),
        ({"workers": 2, "engine": "openai", "base_url": "http://127.0.0.1:9"}, "needs no workers"),
    ],
)
def test_what_cannot_be_had_is_said_before_any_work(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, 2)
    with pytest.raises(MilepostError, match=message) as caught:
        local_places(config(**options))
    assert caught.value.exit_code == 2
    assert caught.value.hint
