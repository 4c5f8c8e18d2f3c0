"""Figures in several dtypes: none hides another's table, and a column that mixes them says so at the cell."""

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
    """`where` in float32 of three checkpoints; `who` in bfloat16; `where` again of the last in bfloat16."""
    folder = tmp_path_factory.mktemp("results") / "out"
    asked: dict[str, Any] = {
        "output_path": folder,
        "include_path": write_tasks(tmp_path_factory.mktemp("tasks")),
        "engine": "padded",
    }
    milepost.evaluate(tiny_run, "where", dtype="float32", **asked)
    milepost.evaluate(tiny_run, "who", dtype="bfloat16", **asked)
    milepost.evaluate(tiny_run, "where", dtype="bfloat16", steps="30", **asked)
    return folder


def test_a_task_run_in_another_dtype_does_not_hide_the_table_of_an_earlier_one(results: Path) -> None:
    dtypes = {(one.task, one.step): one.dtype for one in ResultsIndex.open(results).metrics()}
    assert dtypes == {
        ("where", 10): "float32",
        ("where", 20): "float32",
        ("where", 30): "bfloat16",
        ("who", 10): "bfloat16",
        ("who", 20): "bfloat16",
        ("who", 30): "bfloat16",
    }


def test_a_column_that_mixes_dtypes_says_so_at_the_cell(results: Path) -> None:
    shown = called("show", results).out
    (last,) = [line for line in shown.splitlines() if line.strip().startswith("30 ")]
    assert last.count("(bfloat16)") == 1
    assert shown.count("(bfloat16)") == 1
    assert "(dtype): computed in another one than the rest of its column" in " ".join(shown.split())
    assert "computed in float32 and bfloat16" in shown


def test_free_figures_are_not_cut_to_the_range_of_the_accuracy_beside_them(results: Path) -> None:
    margins = [one for one in milepost.Results.open(results).rows() if one.metric == "margin"]
    assert margins
    for one in margins:
        assert one.doc_range is None
        assert one.ci_low is not None
        assert one.value is not None
        assert one.ci_low < one.value
