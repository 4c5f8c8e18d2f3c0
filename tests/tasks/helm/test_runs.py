"""HELM's entries through the same plan and store as lm_eval's tasks: what is asked again, and what is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("helm", reason="HELM is not installed here; `make test-helm` has it")

import milepost
from milepost.plan.plan_files import load_plan
from milepost.results.selection import select_all_rows
from milepost.store import ResultsIndex
from milepost.tasks.helm import installation

from .conftest import MMLU, SEPARATE, STEPS, run


@pytest.fixture(autouse=True)
def _environment(helm_environment: dict[str, str]) -> None:
    """Let HELM find its tokenizer data."""


def test_a_second_run_computes_nothing_and_a_later_checkpoint_rebuilds_nothing(
    run_folder: Path, helm_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(run_folder, tmp_path / "out", helm_data, steps="400:400")
    assert len(first.scored) == 1

    def rebuilt(*_: object) -> None:
        raise AssertionError("a scenario is made again")

    monkeypatch.setattr("milepost.tasks.helm.runs.adapt", rebuilt)
    monkeypatch.setattr("milepost.tasks.helm.entry_runs.make_runs", rebuilt)
    later = run(run_folder, tmp_path / "out", helm_data)
    assert [name.rpartition("/")[2] for name in later.scored] == ["step-1600"]
    assert [name.rpartition("/")[2] for name in later.reused] == ["step-400"]
    assert not run(run_folder, tmp_path / "out", helm_data).scored


def test_another_entry_number_or_version_is_another_plan(
    run_folder: Path, helm_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(**options: Any) -> str:
        settings: dict[str, Any] = {"helm": MMLU, "max_eval_instances": 4, **options}
        folder = tmp_path / str(time.monotonic_ns())
        milepost.save_plan(run_folder, (), folder, helm_data=helm_data, **settings)
        return load_plan(folder).plan_id

    plain = plan()
    assert plan() == plain
    assert plan(helm="mmlu:subject=virology") != plain
    assert plan(max_eval_instances=5) != plain
    assert plan(max_train_instances=2) != plain
    monkeypatch.setattr(installation, "_version", lambda: "0.5.17")
    installation.helm_version.cache_clear()
    try:
        assert plan() != plain
    finally:
        monkeypatch.undo()
        installation.helm_version.cache_clear()


def test_lm_evals_tasks_and_helms_entries_share_one_run_and_one_folder(
    run_folder: Path, helm_data: Path, hub: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(run_folder, out, helm_data, ["boolq", MMLU], tasks="arc_easy", limit=5, max_eval_instances=None)
    run(run_folder, out, helm_data, "narrative_qa")
    rows = select_all_rows(ResultsIndex.open(out))
    assert {row.task for row in rows} == {"arc_easy", "helm:boolq", MMLU, "helm:narrative_qa"}
    assert {row.checkpoint for row in rows} == set(STEPS)
    assert next(row.n for row in rows if row.task == "helm:boolq" and row.metric == "exact_match") == 5


def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(
    run_folder: Path, helm_data: Path, helm_environment: dict[str, str], tmp_path: Path
) -> None:
    entries = [MMLU, "narrative_qa", SEPARATE]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(run_folder, whole, helm_data, entries)
    command = [sys.executable, "-m", "milepost", "run", str(run_folder), "--max-eval-instances", "6"]
    command += [
        "--helm-data",
        str(helm_data),
        "-o",
        str(killed),
        *(w for e in entries for w in ("--helm", e)),
    ]
    process = subprocess.Popen(
        command, env=helm_environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not list(killed.glob("store/scores/**/*.parquet")) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    run(run_folder, killed, helm_data, entries)

    def values(folder: Path) -> dict[tuple[str, ...], float | None]:
        rows = select_all_rows(ResultsIndex.open(folder))
        return {(row.checkpoint, row.task, row.metric, row.filter): row.value for row in rows}

    assert values(killed) == values(whole)


def test_requests_that_are_the_same_are_asked_once(run_folder: Path, helm_data: Path, tmp_path: Path) -> None:
    entry = "commonsense:dataset=hellaswag,method=multiple_choice_separate_calibrated"
    options: dict[str, Any] = {"max_eval_instances": 6, "num_train_trials": 2, "helm_data": helm_data}
    milepost.save_plan(run_folder, (), tmp_path / "plan", helm=entry, **options)
    # The entry shows no examples, so both trials ask the same: each choice, and what calibrates it.
    assert load_plan(tmp_path / "plan").n_requests == 6 * 4 * 2
