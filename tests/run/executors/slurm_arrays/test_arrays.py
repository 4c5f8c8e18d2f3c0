"""Slurm's job arrays, by submitit's local executor: the same records, and a script without Slurm."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.errors import MilepostError, ResultsError
from milepost.run.config import EvalConfig
from milepost.run.executors.messages import Died, Order
from milepost.run.executors.schedule import Cause
from milepost.run.executors.slurm_arrays import executor
from milepost.run.executors.slurm_arrays.element import ArrayElement
from milepost.run.executors.slurm_arrays.pool import SlurmPool, death
from milepost.run.executors.slurm_arrays.script import CLUSTER, cut_of
from milepost.store import ResultsFolder
from milepost.store.atomic_files import read_json
from milepost.types.checkpoints import Checkpoint
from tests.cli.called import milepost as call
from tests.faults.records import leftovers, score_files
from tests.run.executors.same_records import assert_same_records

pytest.importorskip("submitit")


@pytest.mark.slow
def test_an_array_writes_the_records_that_one_process_writes(
    asked: dict[str, Any],
    first_alone: Path,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CLUSTER, "local")
    out = tmp_path / "out"
    results = milepost.evaluate(
        tiny_run, **asked, output_path=out, steps="10:10", executor="slurm", workers=2, slurm_gpus=0
    )
    assert len(results.scored) == 1, results.failures
    assert_same_records(out, first_alone)
    assert leftovers(out) == []
    assert not (out / "slurm").exists()


@pytest.mark.slow
def test_a_job_that_is_preempted_is_requeued_and_goes_on_from_its_records(
    asked: dict[str, Any],
    first_alone: Path,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CLUSTER, "local")
    out = tmp_path / "out"
    before: dict[Path, tuple[int, int]] = {}
    logs: list[Path] = []
    has_ended = threading.Event()

    def preempt() -> None:
        while len(score_files(out)) < 2 and not has_ended.wait(0.01):
            pass
        jobs = {read_json(path)["pid"] for path in (out / "store" / "workers").glob("*.json")}
        os.kill(max(jobs - {os.getpid()}), signal.SIGUSR2)  # what submitit's jobs get of Slurm
        before.update(score_files(out))
        while not logs and not has_ended.wait(0.01):
            logs.extend(one for one in out.glob("slurm/*/jobs/*_log.out") if "Requeued" in read(one))

    killer = threading.Thread(target=preempt)
    killer.start()
    results = milepost.evaluate(
        tiny_run, **asked, output_path=out, steps="10:10", executor="slurm", workers=1, slurm_gpus=0
    )
    has_ended.set()
    killer.join()
    assert len(results.scored) == 1, results.failures
    assert len(logs) == 1
    assert before.items() <= score_files(out).items(), "nothing that was stored is scored again"
    assert_same_records(out, first_alone)
    assert leftovers(out) == []


def read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(
    asked: dict[str, Any], tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLUSTER, "local")
    folders: list[Path] = []

    class Noted(SlurmPool):
        def __init__(self, executor: Any, folder: Path, n_units: int) -> None:
            folders.append(folder)
            raise MilepostError("far enough")

    monkeypatch.setattr(executor, "SlurmPool", Noted)
    monkeypatch.setattr(time, "strftime", lambda *_: "20261127T120000")
    for process in ("one", "two"):
        monkeypatch.setattr(executor, "this_process", lambda process=process: process)
        with pytest.raises(MilepostError, match="far enough"):
            milepost.evaluate(tiny_run, **asked, output_path=tmp_path / "out", executor="slurm")
    assert [folder.name for folder in folders] == ["20261127T120000-one", "20261127T120000-two"]


def test_plans_and_logs_are_not_written_through_a_link_out_of_the_results_folder(
    asked: dict[str, Any], tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLUSTER, "local")
    out, outside = ResultsFolder.create(tmp_path / "out").path, tmp_path / "outside"
    outside.mkdir()
    (out / "slurm").symlink_to(outside)
    with pytest.raises(ResultsError, match="link out"):
        milepost.evaluate(tiny_run, **asked, output_path=out, executor="slurm")
    assert list(outside.iterdir()) == []


def test_the_script_is_printed_without_slurm_and_nothing_is_written(
    asked: dict[str, Any], tiny_run: Path, tmp_path: Path
) -> None:
    printed = call(
        "run", tiny_run, "-t", "where,who", "--include-path", asked["include_path"], "-o", tmp_path / "out",
        "--executor", "slurm", "--slurm-partition", "gpu", "--slurm-account", "lab", "--slurm-time", "30",
        "--slurm-options", "constraint=a100", "--workers", "2", "--dry-run",
    )  # fmt: skip
    lines = printed.out.splitlines()
    assert lines[0] == "#!/bin/bash"
    wanted = (
        "array=0-2%2",
        "partition=gpu",
        "account=lab",
        "time=30",
        "constraint=a100",
        "requeue",
        "mem=3GB",
    )
    assert [f"#SBATCH --{option}" for option in wanted if f"#SBATCH --{option}" not in lines] == []
    assert not (tmp_path / "out").exists()


def test_without_slurm_the_command_says_so(
    asked: dict[str, Any], tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(MilepostError, match="there is no Slurm here") as caught:
        milepost.evaluate(tiny_run, **asked, output_path=tmp_path / "out", executor="slurm")
    assert (caught.value.exit_code, (tmp_path / "out").exists()) == (2, False)


@pytest.mark.parametrize(
    ("workers", "sizes", "n_units"),
    [(None, [10, 10, 10], 3), (2, [10, 10, 10], 3), (8, [10, 10], 8), (4, [9, 3], 3)],
)
def test_there_are_units_for_every_worker_and_no_checkpoint_is_cut_without_need(
    workers: int | None, sizes: list[int], n_units: int
) -> None:
    config = EvalConfig.from_options("run", "where", output_path="out", executor="slurm", workers=workers)
    assert cut_of(config, sizes).n_units == n_units


def test_a_preempted_element_is_not_blamed_and_is_requeued_as_it_is(tmp_path: Path) -> None:
    class Ended:
        state = "PREEMPTED"

        def stderr(self) -> str:
            return "slurmstepd: error: *** STEP 7.0 CANCELLED DUE TO PREEMPTION ***\n"

    checkpoint = Checkpoint(
        series="run", name="step-1", step=1, source="run/step-1", format="huggingface", location=tmp_path
    )
    died = death(Ended())
    assert died == Died(
        "PREEMPTED; slurmstepd: error: *** STEP 7.0 CANCELLED DUE TO PREEMPTION ***", Cause.TAKEN
    )
    element = ArrayElement(tmp_path, Order(checkpoint, "float32", "plan", (0,)), tmp_path / "events", 0)
    assert element.checkpoint().function is element


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slurm_partition": "gpu"}, "--slurm-partition is an option of --executor slurm"),
        ({"executor": "slurm", "slurm_time": 0}, "--slurm-time and --slurm-cpus are at least 1"),
        (
            {"executor": "slurm", "slurm_options": "a100"},
            "--slurm-options 'a100' is not a list of NAME=VALUE",
        ),
        ({"executor": "kubernetes"}, "unknown executor 'kubernetes'"),
        ({"ray_local": True}, "are options of --executor ray"),
        ({"executor": "ray", "ray_local": True, "ray_address": "auto"}, "--ray-local starts a Ray"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MilepostError, match=message) as caught:
        EvalConfig.from_options("run", "where", output_path="out", **options)
    assert caught.value.exit_code == 2
    assert caught.value.hint
