"""Scoring a saved plan needs torch, transformers, safetensors, numpy and pyarrow, and no other dependency."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"

NOT_NEEDED = (
    "accelerate", "altair", "click", "datasets", "duckdb", "evaluate", "lm_eval", "orjson", "pandas", "peft",
    "polars", "rich", "scipy", "vl_convert", "watchfiles",
)  # fmt: skip
"""Libraries that a machine which only scores may lack."""

WITHOUT = f"""
import importlib.machinery, importlib.metadata, sys
version = importlib.metadata.version

class Others(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {NOT_NEEDED!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Others

def installed(name):
    if name in (*{NOT_NEEDED!r}, "milepost"):
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)

importlib.metadata.version = installed
"""
"""Code that makes them missing, and Milepost not installed: it then runs from its source tree."""


@pytest.mark.parametrize(
    "module", ["engine", "plan.plan", "weights", "run.streaming", "run.evaluation", "store"]
)
def test_a_room_that_scores_is_imported_without_the_libraries_of_the_others(module: str) -> None:
    code = (
        f"{WITHOUT}\nimport milepost.{module}\nfrom milepost.run.versions import versions\nprint(versions())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}
    )
    assert done.returncode == 0, done.stderr
    assert "milepost" in done.stdout
    assert "lm_eval" not in done.stdout
