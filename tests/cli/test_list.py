"""`milepost list`."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.made import accuracy, write_results
from tests.cli.called import milepost
from tests.sources.folders import model

KEYS = ["series", "checkpoint", "step", "source", "format", "size_bytes", "complete", "problem", "scored"]
HEAVY = "torch lm_eval transformers numpy pandas pyarrow duckdb huggingface_hub"


@pytest.fixture
def run(tmp_path: Path) -> Any:
    for step in (5, 10):
        model(tmp_path / "run" / f"step-{step}")
    (tmp_path / "run" / "step-10" / "model.safetensors").write_bytes(b"")
    return tmp_path / "run"


def test_the_table_tells_step_size_and_what_is_missing(run: Path) -> None:
    called = milepost("list", run)
    assert called.status == 0
    lines = [line.split() for line in called.out.splitlines() if "step-" in line]
    assert [line[:2] for line in lines] == [["step-5", "5"], ["step-10", "10"]]
    assert lines[0][-1] == "yes"
    assert "no: model.safetensors is empty" in " ".join(called.out.split())


def test_json_has_an_object_per_checkpoint(run: Path) -> None:
    rows = json.loads(milepost("list", run, "--json").out)
    assert [list(row) for row in rows] == [KEYS, KEYS]
    assert [row["complete"] for row in rows] == [True, False]
    assert [row["step"] for row in rows] == [5, 10]
    assert {row["scored"] for row in rows} == {None}


def test_a_results_folder_says_which_are_scored(run: Path, tmp_path: Path) -> None:
    results = write_results(
        tmp_path / "results", [accuracy(value=0.5, n=10, task="piqa", step=5, series="run")]
    )
    rows = json.loads(milepost("list", run, "--json", "-o", results).out)
    told = {row["checkpoint"]: row["scored"] for row in rows}
    scored = json.loads(milepost("show", results, "--json").out)[0]["checkpoint"]
    assert told == {name: name == scored for name in ("step-5", "step-10")}
    assert "scored?" in milepost("list", run, "-o", results).out


def test_steps_select(run: Path) -> None:
    rows = json.loads(milepost("list", run, "--steps", "10", "--json").out)
    assert [row["checkpoint"] for row in rows] == ["step-10"]


@pytest.mark.parametrize(
    "arguments", [["/nowhere"], [""], ["."], ["{run}", "--steps", "x"], ["{run}", "-o", "/nowhere"], []]
)
def test_bad_input_is_one_line_a_hint_and_status_2(
    run: Path, arguments: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    called = milepost("list", *[argument.format(run=run) for argument in arguments])
    assert called.status == 2
    assert called.out == ""
    assert "Traceback" not in called.err


def test_a_hostile_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    model(tmp_path / "run" / "step-1\x1b[31m[bold]")
    called = milepost("list", tmp_path / "run")
    assert "\x1b" not in called.out
    assert "[bold]" in "".join(called.out.split())


def test_a_local_list_imports_nothing_heavy_and_takes_under_0_4_s_of_cpu(run: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "milepost", "list", str(run)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert imported & set(HEAVY.split()) == set()
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.4
