"""The first checkpoint is read while the plan is made, and only if it will be scored."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.run.plans import first_weights, preparation
from milepost.run.plans.first_weights import FirstWeights
from tests.run.own_tasks import write_tasks


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[FirstWeights]:
    """Every reading of first weights, with an empty cache."""
    monkeypatch.setenv("MILEPOST_CACHE", str(tmp_path / "cache"))
    found: list[FirstWeights] = []
    own = first_weights.FirstWeights

    def making(*arguments: Any) -> FirstWeights:
        found.append(own(*arguments))
        return found[-1]

    monkeypatch.setattr(first_weights, "FirstWeights", making)
    return found


def test_they_are_read_before_the_plan_is_there(
    tiny_run: Path, tmp_path: Path, made: list[FirstWeights], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = preparation.make_plan

    def slowly(*arguments: Any, **options: Any) -> Any:
        (reading,) = made
        reading._thread.join(timeout=60)
        held = reading._held
        assert held is not None
        assert held._files, "read while the plan waits"
        return make(*arguments, **options)

    monkeypatch.setattr(preparation, "make_plan", slowly)
    results = milepost.evaluate(
        tiny_run, "where", include_path=write_tasks(tmp_path / "tasks"), output_path=tmp_path / "out"
    )
    assert len(results.scored) == 3


def test_a_checkpoint_that_was_visited_before_is_left_to_its_turn(
    tiny_run: Path, tmp_path: Path, made: list[FirstWeights]
) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    for _ in range(2):
        milepost.evaluate(tiny_run, "where", include_path=tasks, output_path=tmp_path / "out")
    assert len(made) == 1


def test_what_is_wrong_with_it_is_told_in_its_turn(
    tiny_run: Path, tmp_path: Path, made: list[FirstWeights], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "checkpoint-10" / "SHA256SUMS").write_text(f"{'0' * 64}  model.safetensors\n")
    results = milepost.evaluate(
        run, "where", include_path=write_tasks(tmp_path / "tasks"), output_path=tmp_path / "out"
    )
    assert list(results.failures) == ["run/checkpoint-10"]
    assert "not the one written beside it" in results.failures["run/checkpoint-10"]
    assert len(results.scored) == 2
