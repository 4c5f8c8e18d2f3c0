"""What is said of a curve, on curves of the store's own kind and on a published one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milepost.analysis import rows
from milepost.analysis.curves import curves
from milepost.analysis.improvement import compare_all, curve_progress
from milepost.analysis.training import TrainedCurve
from milepost.report.progress import remark
from milepost.types.metrics import Measurement
from tests.analysis.made import accuracy, measurement, rising, write_results
from tests.cli.called import milepost


@pytest.fixture
def published(shared: Path) -> dict[str, Any]:
    curves: dict[str, Any] = json.loads((shared / "curves.json").read_text("utf-8"))
    return curves


def as_measured(task: str, percent: dict[str, float], n: int, **known: Any) -> list[Measurement]:
    return [
        accuracy(task=task, step=int(step), value=value / 100, n=n, **known)
        for step, value in percent.items()
    ]


def test_the_published_mmlu_curve_is_told_as_a_habit_by_show_and_signal(
    published: dict[str, Any], tmp_path: Path
) -> None:
    """Its lowest value, 22.83 %, is below what always answering A scores, but not by more than luck."""
    shares = published["mmlu_answer_share"].values()
    percent, n = published["mmlu_multiple_choice_percent"], published["mmlu_multiple_choice_n"]
    letters = as_measured("mmlu", percent, n, constant=(min(shares), max(shares)), fixed_choices=True)
    cloze = as_measured(
        "fill_in", published["mmlu_fill_in_percent"], published["mmlu_fill_in_n"], chance=None
    )
    results = write_results(tmp_path / "results", [*letters, *cloze])
    said = "at chance: inside the constant-answer band, no improvement shown"
    assert said in milepost("show", results).out
    (told,) = [line for line in milepost("signal", results).out.splitlines() if line.startswith("mmlu")]
    assert said in told
    (real,) = [line for line in milepost("signal", results).out.splitlines() if line.startswith("fill_in")]
    assert "watch: improves" in real
    summary = json.loads(milepost("show", results, "--summary", "--json").out)
    assert [(one["task"], one["inside_constant_answer_band"]) for one in summary] == [
        ("mmlu", True),
        ("fill_in", False),
    ]
    assert summary[0]["remark"] == said


def test_cloze_at_chance_is_not_told_as_a_favourite_letter(tmp_path: Path) -> None:
    flat = rising("cloze", [1, 2, 3, 4], low=0.25, high=0.25, n=1000, constant=(0.24, 0.26))
    assert "constant-answer band" not in milepost("show", write_results(tmp_path / "results", flat)).out


def test_too_few_docs_are_told_before_a_constant_answer() -> None:
    """One doc lies inside every constant-answer band."""
    measured = [
        measurement(step=step, value=value, stderr=None, n=1, constant=(0.0, 1.0), fixed_choices=True)
        for step, value in ((1, 0.0), (2, 1.0))
    ]
    (curve,) = curves(rows(measured))
    values = np.array([[0.0], [1.0]])
    shown = curve_progress(compare_all(values, np.ones(1)), higher_is_better=True)
    told = TrainedCurve(curve=curve, progress=shown, gain=1.0, gain_interval=shown.gain_interval)
    assert remark(told) == "too few docs to tell"


def test_a_last_checkpoint_without_a_figure_is_named(tmp_path: Path) -> None:
    """A run that diverged at its end is not told as if it had ended before."""
    flat = rising("cloze", [1, 2, 3], low=0.25, high=0.9, n=1000)
    (lost,) = (measurement(task="cloze", step=4, value=None, stderr=None, n=0, reason="NaN"),)
    results = write_results(tmp_path / "results", [*flat, lost])
    (told,) = json.loads(milepost("show", results, "--summary", "--json").out)
    assert told["remark"].endswith("no value at 4")
