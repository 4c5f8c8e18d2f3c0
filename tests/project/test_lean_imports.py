"""Scoring a saved plan needs torch, transformers, safetensors, numpy and pyarrow, and no other dependency."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.without import WITHOUT

SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.mark.parametrize(
    "module", ["engine", "plan.plan", "weights", "run.runner", "run.evaluation", "store"]
)
def test_a_room_that_scores_is_imported_without_the_libraries_of_the_others(module: str) -> None:
    code = (
        f"{WITHOUT}\nimport milepost.{module}\n"
        "from milepost.run.software_versions import versions\nprint(versions())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}
    )
    assert done.returncode == 0, done.stderr
    assert "milepost" in done.stdout
    assert "lm_eval" not in done.stdout
