"""The examples run as their first lines say, from the repository's root."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def run_example(name: str, *arguments: str | Path) -> list[str]:
    """Return the lines that an example prints."""
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_series_example_prints_each_checkpoint_and_one_best(tiny_run: Path, tmp_path: Path) -> None:
    lines = run_example("evaluate_series.py", tiny_run, "capitals", tmp_path / "out")
    assert [line.split()[0] for line in lines] == ["checkpoint-10", "checkpoint-20", "checkpoint-30"]
    assert sum(line.endswith("best") for line in lines) == 1
    assert (tmp_path / "out" / "curve.svg").read_text("utf-8").startswith("<svg")


def test_the_comparison_example_prints_a_verdict_and_the_report(tiny_run: Path, tmp_path: Path) -> None:
    models = tiny_run / "checkpoint-10", tiny_run / "checkpoint-20"
    lines = run_example("compare_pruned.py", *models, "capitals", tmp_path / "out")
    assert lines[0].startswith("capitals: ")
    assert any(line.endswith("comparison_report.html") for line in lines)
