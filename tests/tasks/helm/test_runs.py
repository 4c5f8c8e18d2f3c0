"""HELM's entries through the same plan and store as lm_eval's tasks: what is asked again, and what is not."""

from __future__ import annotations

import json
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
from tests.cli.called import milepost as call

from .conftest import STEPS

MMLU = "mmlu:subject=anatomy"
SEPARATE = "commonsense:dataset=hellaswag,method=multiple_choice_separate_original"


@pytest.fixture(autouse=True)
def _environment(helm_environment: dict[str, str]) -> None:
    """Let HELM find its tokenizer data."""


def run(
    source: Path, out: Path, data: Path, helm: str | list[str] = MMLU, **options: Any
) -> milepost.Results:
    options = {"max_eval_instances": 6, **options}
    return milepost.evaluate(source, helm=helm, helm_data=data, output_path=out, **options)


def test_a_second_run_computes_nothing_and_a_later_checkpoint_rebuilds_nothing(
    run_folder: Path, helm_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(run_folder, tmp_path / "out", helm_data, steps="400:400")
    assert len(first.scored) == 1

    def rebuilt(*_: object) -> None:
        raise AssertionError("a scenario is made again")

    monkeypatch.setattr("milepost.tasks.helm.runs.adapt", rebuilt)
    monkeypatch.setattr("milepost.tasks.helm.runs.make_runs", rebuilt)
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


@pytest.fixture(scope="module")
def mixed(
    run_folder: Path, helm_data: Path, helm_environment: object, hub: str, tmp_path_factory: Any
) -> Path:
    """Results of HELM's entries and a task of lm_eval's in one folder."""
    out: Path = tmp_path_factory.mktemp("mixed")
    run(run_folder, out, helm_data, ["boolq", MMLU, SEPARATE], tasks="arc_easy", limit=8)
    return out


def test_statistics_of_instances_compare_two_checkpoints_doc_by_doc(
    run_folder: Path, helm_data: Path, tmp_path: Path
) -> None:
    run(run_folder, tmp_path / "out", helm_data, ["narrative_qa"], max_eval_instances=12)
    command = [
        sys.executable,
        "-m",
        "milepost",
        "compare",
        str(run_folder / STEPS[0]),
        str(run_folder / STEPS[1]),
    ]
    command += ["--helm", "narrative_qa", "--max-eval-instances", "12", "--helm-data", str(helm_data)]
    command += ["--no-perplexity", "--yes"]
    done = subprocess.run([*command, "-o", str(tmp_path / "compared")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "f1_score" in (tmp_path / "compared" / "comparison_results.json").read_text("utf-8")


def test_single_questions_of_helm_are_shown_with_each_checkpoints_answer(mixed: Path) -> None:
    found = json.loads(call("questions", mixed, "-t", SEPARATE, "-n", "99", "--json").out)
    assert len(found) == 6
    for one in found:
        for checkpoint in one["checkpoints"]:
            assert checkpoint["is_right"] == (checkpoint["text"] in json.loads(one["target"]))
    stats = json.loads(call("questions", mixed, "--stats", "--json").out)
    assert {of["task"] for of in stats} == {"arc_easy", "helm:boolq", MMLU, SEPARATE}


@pytest.mark.parametrize(
    "command", [["show"], ["signal"], ["leaderboard"], ["export", "--format", "csv", "-o"]]
)
def test_reports_have_helms_entries_beside_lm_evals_tasks(
    command: list[str], mixed: Path, tmp_path: Path
) -> None:
    name, *rest = command
    target = [tmp_path / "table.csv"] if rest else []
    done = call(name, mixed, *rest, *target)
    assert done.status == 0, done.err
    said = target[0].read_text("utf-8") if target else done.out
    assert all(task in said for task in ("arc_easy", "helm:boolq", MMLU))


def test_requests_that_are_the_same_are_asked_once(run_folder: Path, helm_data: Path, tmp_path: Path) -> None:
    entry = "commonsense:dataset=hellaswag,method=multiple_choice_separate_calibrated"
    options: dict[str, Any] = {"max_eval_instances": 6, "num_train_trials": 2, "helm_data": helm_data}
    milepost.save_plan(run_folder, (), tmp_path / "plan", helm=entry, **options)
    # The entry shows no examples, so both trials ask the same: each choice, and what calibrates it.
    assert load_plan(tmp_path / "plan").n_requests == 6 * 4 * 2
