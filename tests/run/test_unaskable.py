"""Requests that lm_eval stops at cost their own task its figures, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost import Results
from tests.cli.called import milepost
from tests.run.own_tasks import write_task, write_tasks

HOLES = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{q}}",
    "doc_to_choice": "choices",
    "doc_to_target": "label",
    "target_delimiter": "",
    "metric_list": [{"metric": "acc"}],
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = write_tasks(tmp_path / "own")
    docs = [
        {"q": f"the cat {n}", "choices": [" sat", "" if n == 2 else " ran"], "label": 0} for n in range(4)
    ]
    write_task(folder, "holes", docs, HOLES)
    return folder


@pytest.mark.parametrize("engine", ["packed", "padded", "reference"])
def test_the_other_tasks_have_their_figures(tiny_llama: Path, own: Path, tmp_path: Path, engine: str) -> None:
    out = tmp_path / "out"
    asked = ["-t", "where,holes", "--include-path", own, "--engine", engine, "--device", "cpu"]
    called = milepost("run", tiny_llama, *asked, "-o", out)
    assert called.status == 1
    assert "holes, doc 2, request 1: its continuation is empty (1 such requests)" in called.err
    figures = {row.task: row.value for row in Results.open(out).rows() if row.metric == "acc"}
    assert figures["where"] is not None
    assert figures["holes"] is None


def test_a_task_alone_is_refused_before_anything_is_scored(
    tiny_llama: Path, own: Path, tmp_path: Path
) -> None:
    called = milepost("run", tiny_llama, "-t", "holes", "--include-path", own, "-o", tmp_path / "out")
    assert called.status == 2
    assert "error: holes, doc 2, request 1" in called.err
    assert not (tmp_path / "out").exists()
