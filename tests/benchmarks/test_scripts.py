"""The benchmark scripts run at a small size, so that they are right when somebody needs a figure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_speed_table_of_the_readmes_is_made_from_the_result_files(name: str) -> None:
    page = (BENCHMARKS.parent / name).read_text("utf-8")
    rows = run("table.py", "--print").splitlines()
    assert rows
    assert "\n".join(rows) in page, "run: python benchmarks/table.py"


def test_the_made_results_are_read_like_any_others(tmp_path: Path) -> None:
    made = tmp_path / "made"
    printed = run(
        "records.py", str(made), "--docs", "600", "--checkpoints", "2", "--measure", "show", "verify"
    )
    assert "exit" not in printed
    assert len([line for line in printed.splitlines() if line.startswith("| `")]) == 2


@pytest.mark.hub
def test_of_real_tasks_no_token_is_planned_more_than_once(hub: str) -> None:
    rows = [
        [cell.replace(",", "") for cell in line.strip("| ").split(" | ")]
        for line in run("counts.py", "--dry", "--tasks", "arc-easy", "piqa").splitlines()
        if line.startswith("|")
    ]
    grouped, unique = rows[0].index("grouped"), rows[0].index("unique")
    assert {row[0]: (row[grouped], row[unique]) for row in rows[2:]} == {
        "arc-easy": ("260178", "84555"),
        "piqa": ("129869", "82281"),
    }


@pytest.mark.hub
def test_the_generation_benchmark_compares_the_same_texts(hub: str) -> None:
    small = [
        "--shape",
        "tiny",
        "--docs",
        "3",
        "--rounds",
        "1",
        "--batch-size",
        "2",
        "--train-s",
        "3",
        "--dry",
    ]
    head, _, row = [
        line.strip("| ").split(" | ")
        for line in run("generate.py", "--tasks", "gsm8k", *small).splitlines()
        if line.startswith("|")
    ]
    shown = dict(zip(head, row, strict=True))
    assert shown["prompts"] == shown["same texts"] == "3"
    assert shown["generator"] == "batched"
    assert float(shown["ratio"]) > 0


SCRIPTS = sorted(
    path.name
    for path in BENCHMARKS.glob("*.py")
    if "ArgumentParser" in path.read_text("utf-8") and path.name != "on_device.py"
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_says_what_it_measures(script: str) -> None:
    assert "usage:" in run(script, "--help")
