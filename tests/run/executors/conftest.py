"""What the tests of every executor ask, and the records of one process that each of them has to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import milepost
from tests.run.own_tasks import write_tasks


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Options of runs over two scored tasks and one with texts, in many shards."""
    tasks = write_tasks(tmp_path_factory.mktemp("tasks"))
    return {"tasks": "where,who,prose", "include_path": tasks, "shard_tokens": 60, "verbosity": "WARNING"}


@pytest.fixture(scope="session")
def alone(asked: dict[str, Any], tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one process."""
    return milepost.evaluate(tiny_run, **asked, output_path=tmp_path_factory.mktemp("alone") / "out").path


@pytest.fixture(scope="session")
def first_alone(asked: dict[str, Any], tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one process for the first checkpoint."""
    out = tmp_path_factory.mktemp("first-alone") / "out"
    return milepost.evaluate(tiny_run, **asked, output_path=out, steps="10:10").path
