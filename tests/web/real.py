"""A real run for the tests of pages: three checkpoints of a tiny Llama on tasks of our own."""

from __future__ import annotations

from pathlib import Path

import milepost
from tests.run.own_tasks import write_tasks


def run_tiny(tiny_run: Path, folder: Path) -> Path:
    """Score three checkpoints on two multiple-choice tasks and a text; return the results folder."""
    tasks = write_tasks(folder / "tasks")
    results = folder / "results"
    milepost.evaluate(tiny_run, "farm,prose", output_path=results, include_path=tasks, engine="padded")
    return results
