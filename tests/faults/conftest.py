"""A small series, questions in many shards, and `milepost` in real processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.faults.zygote import Zygote
from tests.run.own_tasks import write_task

ANIMALS = ("cat", "dog", "rat", "hen", "cow", "pig", "fox", "owl")
N_KILLS = int(os.environ.get("MILEPOST_KILLS", "8"))
SHARD_TOKENS = 130 if N_KILLS <= 8 else 16
"""Many kills need many shards, or the work is done before the last of them."""
PLACES = ("mat", "log", "hill", "roof")


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks of own YAML: `where` and `who` score 64 docs each, `tell` has 16 texts written."""
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
    texts: dict[str, Any] = {
        "output_type": "generate_until",
        "doc_to_text": "{{text}}",
        "doc_to_target": "{{places[0]}}",
        "generation_kwargs": {"until": ["."], "max_gen_toks": 8, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    write_task(folder, "tell", docs[::4], texts)
    return folder


@pytest.fixture(scope="session")
def asked(tiny_run: Path, questions: Path) -> list[str]:
    """The arguments of `milepost run`, but for the results folder: 3 checkpoints of 38 shards, or 144."""
    return [
        "run", str(tiny_run), "-t", "where,tell,who", "--include-path", str(questions),
        "--shard-tokens", str(SHARD_TOKENS), "--engine", "padded",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def uninterrupted(asked: list[str], zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the same questions by one process that nothing disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    log = folder / "log"
    assert zygote.run(*asked, "-o", folder / "results", log=log) == 0, log.read_text()
    return folder / "results"
