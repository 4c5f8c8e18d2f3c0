"""`milepost signal` on results whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from milepost.store import ResultsFolder, ResultsIndex
from milepost.store.atomic_files import read_json, write_json
from tests.analysis.made import accuracy, measurement, rising, write_results
from tests.cli.called import milepost

STEPS = list(range(1000, 21000, 1000))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """`learned` rises, `guessed` stays at chance, and `bits` of the first rises more clearly."""
    bits = [
        measurement(task="learned", metric="bpb_right", step=step, value=2 - i / 20, stderr=0.05, chance=None)
        for i, step in enumerate(STEPS)
    ]
    bits = [type(each)(**{**_fields(each), "higher_is_better": False}) for each in bits]
    measured = [
        *rising("learned", STEPS, low=0.25, high=0.6, n=2000),
        *bits,
        *rising("guessed", STEPS, low=0.25, high=0.25, n=2000),
    ]
    return write_results(tmp_path / "results", measured)


def _fields(each: Any) -> dict[str, Any]:
    return {name: getattr(each, name) for name in each.__dataclass_fields__}


def said(results: Path, *options: str) -> dict[str, dict[str, Any]]:
    return {one["task"]: one for one in json.loads(milepost("signal", results, "--json", *options).out)}


def test_what_rises_is_to_be_watched_and_what_guesses_is_not(results: Path) -> None:
    found = said(results)
    assert found["learned"]["verdict"] == "watch"
    assert found["guessed"]["verdict"] == "at chance"
    assert found["guessed"]["reason"] == "not above chance, no improvement shown"


def test_the_metric_with_the_clearest_signal_is_named(results: Path) -> None:
    found = said(results)
    assert found["learned"]["metric"] == "acc"
    assert found["learned"]["clearest_metric"] == "bpb_right"
    assert found["guessed"]["clearest_metric"] is None


def test_the_table_says_so_in_words(results: Path) -> None:
    called = milepost("signal", results)
    assert called.status == 0
    lines = called.out.splitlines()
    (learned,) = [line for line in lines if line.startswith("learned")]
    assert "watch: improves" in learned
    assert "bpb_right" in learned
    assert "watch: 1, at chance: 1" in lines


def test_one_checkpoint_is_no_curve(tmp_path: Path) -> None:
    path = write_results(tmp_path / "one", [accuracy(value=0.5, n=100)])
    assert said(path)["arc_easy"]["reason"] == "one checkpoint: no curve"
    assert "one checkpoint: no curve" in milepost("signal", path).out


def test_several_series_are_told_apart_or_not(tmp_path: Path) -> None:
    measured = [
        *rising("task", STEPS, low=0.3, high=0.6, n=5000, series="good"),
        *rising("task", STEPS, low=0.2, high=0.4, n=5000, series="poor"),
    ]
    path = write_results(tmp_path / "two", measured)
    found = json.loads(milepost("signal", path, "--json").out)
    assert [one["series"] for one in found] == ["good", "poor"]
    assert found[0]["agreement"]["kendall"] == 1.0
    assert found[0]["agreement"]["n_series"] == 2
    assert "Kendall" in milepost("signal", path).out


def test_checkpoints_on_another_number_of_docs_are_not_joined_and_gaps_are_told(tmp_path: Path) -> None:
    measured = rising("task", STEPS[:8], low=0.25, high=0.5, n=1000)
    measured[1] = accuracy(task="task", step=2000, value=0.9, n=10)
    other = rising("other", STEPS[:9], low=0.25, high=0.5, n=1000)
    found = said(write_results(tmp_path / "mixed", [*measured, *other]))
    assert found["task"]["n_checkpoints"] == 7
    assert found["task"]["notes"] == [
        "not joined, measured on another number of docs: step-2000 (10 docs)",
        "no value at step-9000",
    ]


def test_a_task_in_two_settings_is_shown_in_both_by_every_reader(tmp_path: Path) -> None:
    path = write_results(tmp_path / "limits", rising("task", STEPS[:6], low=0.25, high=0.5, n=1000))
    last = ResultsIndex.open(path).checkpoints()[-1]
    newest = ResultsFolder(path).metrics_path("plan", *last.model)
    record = read_json(newest)
    write_json(
        newest, {**record, "rows": [{**row, "num_fewshot": 5, "setting": "5"} for row in record["rows"]]}
    )
    assert {one["variant"] for one in json.loads(milepost("signal", path, "--json").out)} == {
        "0-shot",
        "5-shot",
    }
    for command in ("show", "signal"):
        shown = milepost(command, path).out
        assert "task 0-shot" in shown
        assert "task 5-shot" in shown
    drawn = tmp_path / "curve.svg"
    assert json.loads(milepost("plot", path, "-o", drawn, "--json").out)["tasks"] == [
        "task 0-shot",
        "task 5-shot",
    ]


def test_a_task_that_does_not_exist_is_named_with_its_neighbours(results: Path) -> None:
    called = milepost("signal", results, "-t", "lerned")
    assert called.status == 2
    assert "nearest: learned" in called.err
