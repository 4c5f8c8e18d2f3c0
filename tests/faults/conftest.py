"""A small series, questions in many shards, and `milepost` in real processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from run.own_tasks import write_task

from faults.zygote import Zygote

ANIMALS = ("cat", "dog", "rat", "hen", "cow", "pig", "fox", "owl")
N_KILLS = int(os.environ.get("MILEPOST_KILLS", "8"))
SHARD_TOKENS = 130 if N_KILLS <= 8 else 16
"""Many kills need many shards, or the work is done before the last of them."""
PLACES = ("mat", "log", "hill", "roof")


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks of own YAML, `where` and `who`, of 64 docs each."""
    folder = tmp_path_factory.mktemp("questions")
    docs = [
        {"text": f"{number} times the {animal} and the {other} sat on the", "places": list(PLACES)}
        for number, (animal, other) in enumerate((a, b) for a in ANIMALS for b in ANIMALS)
    ]
    config: dict[str, Any] = {
        "output_type": "multiple_choice",
        "doc_to_choice": "{{places}}",
        "doc_to_target": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    write_task(folder, "where", docs, config | {"doc_to_text": "{{text}}"})
    write_task(folder, "who", docs, config | {"doc_to_text": "say: {{text}}"})
    return folder


@pytest.fixture(scope="session")
def asked(tiny_run: Path, questions: Path) -> list[str]:
    """The arguments of `milepost run`, but for the results folder: 3 checkpoints of 32 shards, or 128."""
    return [
        "run", str(tiny_run), "-t", "where,who", "--include-path", str(questions),
        "--shard-tokens", str(SHARD_TOKENS), "--engine", "padded",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def uninterrupted(asked: list[str], zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the same questions by one process that nothing disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    log = folder / "log"
    assert zygote.run(*asked, "-o", folder / "results", log=log) == 0, log.read_text()
    return folder / "results"
