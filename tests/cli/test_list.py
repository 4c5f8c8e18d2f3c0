"""`milepost list`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
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


def test_a_local_list_imports_nothing_heavy(run: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "milepost", "list", str(run)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert imported & set(HEAVY.split()) == set()


def test_a_slow_hub_is_named_while_it_is_asked(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from milepost.cli import list as list_command

    asked = threading.Event()

    def slow(*arguments: Any) -> Any:
        asked.wait(1.0)
        return discover_all(*arguments)

    discover_all = list_command.discover_all
    monkeypatch.setattr(list_command, "discover_all", slow)
    called = milepost("list", run, "--json")
    assert called.err == "looking for checkpoints ...\n"
    assert len(json.loads(called.out)) == 2


@pytest.mark.parametrize(
    ("language", "message", "hint"),
    [
        ("en", "{folder}/gone does not exist", "{folder} has run"),
        ("zh", "{folder}/gone 不存在", "{folder} 中有 run"),
    ],
)
def test_a_missing_source_and_its_hint_are_in_the_readers_language(
    run: Path, monkeypatch: pytest.MonkeyPatch, language: str, message: str, hint: str
) -> None:
    monkeypatch.setenv("MILEPOST_LANG", language)
    called = milepost("list", run.parent / "gone")
    assert called.status == 2
    assert message.format(folder=run.parent) in called.err
    assert hint.format(folder=run.parent) in called.err
