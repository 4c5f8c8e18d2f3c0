"""Figures in several dtypes: of one checkpoint they stand side by side; of several they make one column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.store import ResultsIndex
from tests.cli.called import milepost as called
from tests.run.own_tasks import write_tasks


@pytest.fixture(scope="module")
def results(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`where` in float32 of all three checkpoints and in bfloat16 of the last; `who` in one dtype of each."""
    folder = tmp_path_factory.mktemp("results") / "out"
    asked: dict[str, Any] = {
        "output_path": folder,
        "include_path": write_tasks(tmp_path_factory.mktemp("tasks")),
        "engine": "padded",
    }
    milepost.evaluate(tiny_run, "where", dtype="float32", **asked)
    milepost.evaluate(tiny_run, "who", dtype="bfloat16", steps=":20", **asked)
    milepost.evaluate(tiny_run, "who", dtype="float32", steps="30", **asked)
    milepost.evaluate(tiny_run, "where", dtype="bfloat16", steps="30", **asked)
    return folder


def test_two_dtypes_of_a_checkpoint_stand_side_by_side(results: Path) -> None:
    where = {(one.label, one.step) for one in ResultsIndex.open(results).metrics() if one.task == "where"}
    assert where == {
        ("where float32", 10),
        ("where float32", 20),
        ("where float32", 30),
        ("where bfloat16", 30),
    }


def test_a_column_that_mixes_dtypes_says_so_at_the_cell(results: Path) -> None:
    shown = called("show", results, "-t", "who").out
    (last,) = [line for line in shown.splitlines() if line.strip().startswith("30 ")]
    assert last.count("(float32)") == 1
    assert shown.count("(float32)") == 1
    assert "(dtype): computed in another one than the rest of its column" in " ".join(shown.split())
    assert "computed in bfloat16, float32" in shown


def test_free_figures_are_not_cut_to_the_range_of_the_accuracy_beside_them(results: Path) -> None:
    margins = [one for one in milepost.Results.open(results).rows() if one.metric == "margin"]
    assert margins
    for one in margins:
        assert one.doc_range is None
        assert one.ci_low is not None
        assert one.value is not None
        assert one.ci_low < one.value
