"""`milepost plot`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from milepost.store.atomic_files import write_json
from tests.analysis.made import accuracy, measurement, mmlu, write_results
from tests.cli.called import milepost


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    found = mmlu([0, 1000, 2000], subjects=4)
    found += [accuracy(value=v, n=500, task="piqa", step=1000 * (i + 1)) for i, v in enumerate((0.5, 0.6))]
    return write_results(tmp_path_factory.mktemp("plot") / "results", found)


def test_a_picture_is_written_and_named(results: Path, tmp_path: Path) -> None:
    plotted = milepost("plot", results, "-o", tmp_path / "curve.png", "-t", "piqa")
    assert (plotted.status, plotted.out, plotted.err) == (0, f"wrote {tmp_path / 'curve.png'}\n", "")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_patterns_and_the_title_reach_the_picture(results: Path, tmp_path: Path) -> None:
    target = tmp_path / "curve.svg"
    assert (
        milepost("plot", results, "-o", target, "-t", "mmlu_subject_0[01]", "--title", "Two of four").status
        == 0
    )
    svg = target.read_text("utf-8")
    assert "Two of four" in svg
    assert "mmlu_subject_01" in svg
    assert "mmlu_subject_02" not in svg


def test_what_is_not_drawn_is_said_on_standard_error_and_in_json(results: Path, tmp_path: Path) -> None:
    plotted = milepost("plot", results, "-o", tmp_path / "c.svg", "-t", "mmlu", "--log-x", "--json")
    note = "not drawn, a log axis has no place for it: step 0"
    assert plotted.err == f"note: {note}\n"
    assert json.loads(plotted.out) == {"path": str(tmp_path / "c.svg"), "tasks": ["mmlu"], "notes": [note]}


def test_one_checkpoint_is_drawn_and_said(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", [measurement()])
    plotted = milepost("plot", results, "-o", tmp_path / "curve.html")
    assert plotted.status == 0
    assert plotted.err == "note: one checkpoint: no curve\n"
    assert "one checkpoint: no curve" in (tmp_path / "curve.html").read_text("utf-8")


def test_a_checkpoint_that_could_not_be_used_is_a_gap_in_picture_and_table(tmp_path: Path) -> None:
    measured = [accuracy(value=0.5, n=100, step=step) for step in (10, 30, 70)]
    results = write_results(tmp_path / "results", measured)
    record = {"series": "run", "checkpoint": "step-50", "step": 50, "model_id": None, "failure": "no config"}
    write_json(results / "store" / "checkpoints" / "run" / "step-50.json", record)
    plotted = milepost("plot", results, "-o", tmp_path / "curve.svg")
    assert plotted.err == "note: gap, no metrics: step-50\n"
    lines = milepost("show", results, "--no-summary").out.splitlines()
    assert [line.split()[-1] for line in lines if line.split()[:1] == ["50"]] == ["–"]
    assert len(json.loads(milepost("show", results, "--json").out)) == 3


def test_picks_are_drawn_where_there_are_any(results: Path, tmp_path: Path) -> None:
    plotted = milepost("plot", results, "--kind", "picks", "-o", tmp_path / "picks.svg")
    assert plotted.status == 2
    assert "there are no picks of these tasks" in plotted.err
    assert not (tmp_path / "picks.svg").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("curve.gif", "ends in `.gif`"),
        ("curve", "has no ending"),
        ("nowhere/curve.png", "is not a folder"),
    ],
)
def test_a_target_that_cannot_be_is_refused_before_any_work(
    results: Path, tmp_path: Path, name: str, message: str
) -> None:
    plotted = milepost("plot", results, "-o", tmp_path / name)
    assert plotted.status == 2
    assert message in plotted.err.splitlines()[0]
    assert plotted.err.splitlines()[1].startswith("hint: ")
    assert list(tmp_path.iterdir()) == []
