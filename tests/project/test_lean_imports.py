"""Scoring a saved plan needs torch, transformers, safetensors, numpy and pyarrow, and no other dependency."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.without import WITHOUT

SOURCE = Path(__file__).resolve().parents[2] / "src"


ROOMS = ("engine", "plan.plan", "weights", "run.runner", "run.evaluation", "store")


def test_rooms_that_score_are_imported_without_the_libraries_of_the_others() -> None:
    imports = "\n".join(f"import milepost.{room}" for room in ROOMS)
    code = f"{WITHOUT}\n{imports}\nfrom milepost.run.software_versions import versions\nprint(versions())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}
    )
    assert done.returncode == 0, done.stderr
    assert "milepost" in done.stdout
    assert "lm_eval" not in done.stdout
