"""A run that is refused before anything is scored leaves no results folder, however late it is refused."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.errors import MilepostError
from milepost.run import evaluation
from milepost.run.executors import runner
from milepost.store import ResultsFolder
from milepost.store.beginning import begun_folder
from milepost.store.workers import Worker
from tests.cli.called import milepost as call
from tests.run.own_tasks import write_tasks

Run = Callable[..., milepost.Results]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A results folder that is not there, nor is the one above it."""
    return tmp_path / "new" / "out"


@pytest.fixture
def run(tiny_run: Path, out: Path, tmp_path: Path) -> Run:
    tasks = write_tasks(tmp_path / "tasks")

    def called(**options: Any) -> milepost.Results:
        given: dict[str, Any] = {"output_path": out, "verbosity": "ERROR", "steps": "10:10"} | options
        return milepost.evaluate(tiny_run, "where", include_path=tasks, **given)

    return called


def refuse(*_: object, **__: object) -> None:
    raise MilepostError("not begun", "say yes")


def test_a_run_that_a_person_does_not_want_leaves_no_folder(
    run: Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "check_run_time", refuse)
    with pytest.raises(MilepostError, match="not begun"):
        run()
    assert not out.parent.exists()


def test_a_run_whose_checkpoints_were_partly_refused_leaves_no_log_of_them(
    run: Run, out: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = evaluation._refused

    def with_one_more(preparation: Any) -> list[Any]:
        first = preparation.series[0].checkpoints[0]
        return [*noted(preparation), evaluation.Failure(first, "is damaged")]

    monkeypatch.setattr(evaluation, "_refused", with_one_more)
    monkeypatch.setattr(evaluation, "announce_work", refuse)
    with pytest.raises(MilepostError, match="not begun"):
        run()
    assert not out.parent.exists()


def test_an_empty_folder_that_was_there_is_empty_again(
    run: Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.mkdir(parents=True)
    monkeypatch.setattr(runner, "check_run_time", refuse)
    with pytest.raises(MilepostError, match="not begun"):
        run()
    assert list(out.iterdir()) == []


def test_what_an_earlier_run_has_scored_stays(run: Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    before = sorted(path for path in out.rglob("*") if path.is_file())
    monkeypatch.setattr(evaluation, "announce_work", refuse)
    with pytest.raises(MilepostError, match="not begun"):
        run(limit=1)
    assert set(before) <= set(out.rglob("*"))
    assert call("show", out).status == 0


def test_what_was_scored_before_the_refusal_stays(
    run: Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milepost.run.metrics.finishing.Finisher.add_scored", refuse)
    with pytest.raises(MilepostError, match="not begun"):
        run()
    assert list(out.glob("store/scores/*/*/*.parquet"))


def test_a_folder_in_which_another_process_is_at_work_stays(out: Path) -> None:
    def join_and_refuse() -> None:
        with begun_folder(out) as results:
            Worker(results, {}).__enter__()
            refuse()

    with pytest.raises(MilepostError, match="not begun"):
        join_and_refuse()
    assert ResultsFolder(out).marker_path.exists()


def test_files_of_others_stay_and_the_folder_can_still_be_used(out: Path) -> None:
    def write_and_refuse() -> None:
        with begun_folder(out):
            (out / "store" / "plans").mkdir(parents=True)
            (out / "store" / "plans" / "a.json").write_text("{}")
            (out / "notes.txt").write_text("mine")
            refuse()

    with pytest.raises(MilepostError, match="not begun"):
        write_and_refuse()
    assert sorted(path.name for path in out.iterdir()) == ["milepost.json", "notes.txt"]
    with begun_folder(out) as results:
        assert results.path == out


def test_a_ray_that_does_not_start_leaves_no_folder(
    run: Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")

    def init(**_: object) -> None:
        raise RuntimeError("the node did not start")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(MilepostError, match="Ray did not start on this machine: the node did not start"):
        run(executor="ray", ray_local=True)
    assert not out.parent.exists()


@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs submitit")
def test_a_slurm_that_refuses_the_jobs_leaves_no_folder(
    run: Run, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sbatch", "srun"):
        (programs / name).write_text("#!/bin/sh\necho invalid partition specified >&2\nexit 1\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(MilepostError, match=r"Slurm did not take the jobs.*invalid partition"):
        run(executor="slurm", slurm_partition="nowhere")
    assert not out.parent.exists()
