"""Only the weights that a name stands for now are shown, and every setting of a task."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from milepost.errors import ResultsError
from milepost.store import ResultsFolder, ResultsIndex
from milepost.store.atomic_files import read_json, write_json
from milepost.store.records import RunRecord


def figure(task: str, value: float, setting: str) -> dict[str, Any]:
    return {
        "task": task,
        "metric": "acc",
        "filter": "none",
        "value": value,
        "stderr": 0.1,
        "n": 10,
        "chance": 0.25,
        "higher_is_better": True,
        "kind": "task",
        "alias": task,
        "parents": [],
        "num_fewshot": 0,
        "setting": setting,
    }


def write(results: ResultsFolder, plan: str, model: str, rows: list[dict[str, Any]]) -> None:
    content = {"rows": rows, "missing": {}, "lm_eval": {}}
    write_json(results.metrics_path(plan, model, "float32-v1"), content)


def visit(results: ResultsFolder, checkpoint: str, step: int, model: str) -> None:
    record = {"series": "run", "checkpoint": checkpoint, "step": step, "model_id": model}
    write_json(results.checkpoint_path("run", checkpoint), {**record, "numerics": "float32-v1"})


@pytest.fixture
def results(tmp_path: Path) -> ResultsFolder:
    folder = ResultsFolder.create(tmp_path / "results")
    folder.write_run(RunRecord(plan_id="p1", series=("run",)))
    visit(folder, "step-2", 2, "m2")
    visit(folder, "step-10", 10, "m10")
    write(folder, "p1", "m2", [figure("t", 0.2, "0-shot")])
    write(folder, "p1", "m10", [figure("t", 0.3, "0-shot")])
    return folder


def values(results: ResultsFolder) -> dict[tuple[str, str], float | None]:
    return {(m.checkpoint, m.task): m.value for m in ResultsIndex.open(results.path).metrics()}


def test_checkpoints_come_in_the_order_of_their_steps(results: ResultsFolder) -> None:
    assert [m.checkpoint for m in ResultsIndex.open(results.path).metrics()] == ["step-2", "step-10"]


def test_an_overwritten_checkpoint_shows_no_old_figures(results: ResultsFolder) -> None:
    visit(results, "step-10", 10, "other")
    assert values(results) == {("step-2", "t"): 0.2}
    assert ResultsIndex(results).scored == {("run", "step-2")}


def labels(results: ResultsFolder) -> dict[tuple[str, str], float | None]:
    return {(m.checkpoint, m.label): m.value for m in ResultsIndex.open(results.path).metrics()}


def test_two_settings_of_a_task_stand_side_by_side(results: ResultsFolder) -> None:
    results.write_run(RunRecord(plan_id="p2", series=("run",)))
    write(results, "p2", "m10", [{**figure("t", 0.9, "other"), "num_fewshot": 5}])
    assert labels(results) == {
        ("step-2", "t 0-shot"): 0.2,
        ("step-10", "t 0-shot"): 0.3,
        ("step-10", "t 5-shot"): 0.9,
    }


def test_prompts_from_before_a_task_was_edited_stand_beside_the_new_ones(results: ResultsFolder) -> None:
    results.write_run(RunRecord(plan_id="p2", series=("run",)))
    write(results, "p2", "m10", [figure("t", 0.9, "edited")])
    assert labels(results) == {
        ("step-2", "t earlier prompts"): 0.2,
        ("step-10", "t earlier prompts"): 0.3,
        ("step-10", "t"): 0.9,
    }


def test_two_dtypes_of_a_checkpoint_stand_side_by_side(results: ResultsFolder) -> None:
    content = {"rows": [figure("t", 0.31, "0-shot")], "missing": {}, "lm_eval": {}}
    write_json(results.metrics_path("p1", "m10", "bfloat16-v1"), content)
    assert labels(results) == {
        ("step-2", "t float32"): 0.2,
        ("step-10", "t float32"): 0.3,
        ("step-10", "t bfloat16"): 0.31,
    }


def test_dtypes_of_different_checkpoints_make_one_curve(results: ResultsFolder) -> None:
    record = read_json(results.metrics_path("p1", "m10", "float32-v1"))
    results.metrics_path("p1", "m10", "float32-v1").unlink()
    write_json(results.metrics_path("p1", "m10", "bfloat16-v1"), record)
    assert labels(results) == {("step-2", "t"): 0.2, ("step-10", "t"): 0.3}


def test_a_task_added_later_stands_beside_the_first(results: ResultsFolder) -> None:
    results.write_run(RunRecord(plan_id="p2", series=("run",)))
    write(results, "p2", "m10", [figure("u", 0.5, "0-shot")])
    assert values(results) == {("step-2", "t"): 0.2, ("step-10", "t"): 0.3, ("step-10", "u"): 0.5}


def test_a_folder_that_holds_no_results_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="not a results folder") as told:
        ResultsIndex.open(tmp_path)
    assert told.value.hint is not None
    with pytest.raises(ResultsError, match="does not exist"):
        ResultsIndex.open(tmp_path / "nowhere")


def test_the_newest_prompts_are_those_of_the_newest_run_whatever_the_clock_says(
    results: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(results, "p2", "m2", [figure("t", 0.8, "edited")])
    now = time.time()
    for days, plan, value in ((0, "p2", 0.8), (-400, "p1", 0.2), (3000, "p2", 0.8), (0, "p1", 0.2)):
        monkeypatch.setattr("milepost.store.folder.time.time", lambda days=days: now + 86400 * days)
        results.write_run(RunRecord(plan_id=plan, series=("run",)))
        assert labels(results)["step-2", "t"] == value


def test_runs_of_the_first_versions_are_older_than_numbered_ones(results: ResultsFolder) -> None:
    runs = results.path / "store" / "runs"
    for path in runs.iterdir():
        path.unlink()
    for moment, plan in (("20250101T000000.000000", "p1"), ("20290101T000000.000000", "p2")):
        write_json(runs / f"{moment}-0badcafe-1-1.json", {"time": 0, "plan_id": plan, "series": ["run"]})
    write(results, "p2", "m2", [figure("t", 0.8, "edited")])
    assert labels(results)["step-2", "t"] == 0.8
    results.write_run(RunRecord(plan_id="p1", series=("run",)))
    assert labels(results)["step-2", "t"] == 0.2


def test_two_runs_that_were_noted_at_the_same_moment_are_in_one_order(results: ResultsFolder) -> None:
    runs = results.path / "store" / "runs"
    for host, plan in (("0badcafe", "p2"), ("0badbeef", "p3")):
        write_json(runs / f"00000002-x-{host}-1-1.json", {"time": 0, "plan_id": plan, "series": ["run"]})
    assert [run.plan_id for run in ResultsIndex(results).runs] == ["p2", "p3", "p1"]


@pytest.mark.parametrize("entry", [{"step": "9; rm"}, {"step": 1.5}, {"series": None}, {"model_id": ["x"]}])
def test_a_checkpoint_record_of_other_types_is_refused_by_name(
    entry: dict[str, Any], results: ResultsFolder
) -> None:
    path = results.checkpoint_path("run", "step-2")
    write_json(path, {**read_json(path), **entry})
    with pytest.raises(ResultsError, match=re.escape(str(path))):
        values(results)
