"""A quick test asks little, and says how long the whole takes from what it measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from milepost.api.evaluate import evaluate
from milepost.run.config import QUICK_DOCS
from milepost.run.quick import first_middle_last
from milepost.types.checkpoints import Checkpoint, Series
from tests.run.own_tasks import ANIMALS, PLACES, write_task

N_DOCS = 250


def checkpoint(step: int, problem: str | None = None) -> Checkpoint:
    return Checkpoint(
        series="run",
        name=f"step-{step}",
        step=step,
        source=f"step-{step}",
        format="safetensors",
        location=Path(f"step-{step}"),
        problem=problem,
    )


@pytest.mark.parametrize(
    ("there", "chosen"),
    [([1], [1]), ([1, 2], [1, 2]), ([1, 2, 3], [1, 2, 3]), ([1, 2, 3, 4], [1, 2, 4]), (range(9), [0, 4, 8])],
)
def test_the_first_the_middle_and_the_last_are_chosen(there: list[int], chosen: list[int]) -> None:
    series = Series(name="run", source="run", checkpoints=tuple(checkpoint(step) for step in there))
    assert [one.step for one in first_middle_last(series).checkpoints] == chosen


def test_checkpoints_that_cannot_be_used_are_not_chosen() -> None:
    broken = replace(checkpoint(1), problem="no config"), replace(checkpoint(9), problem="cut short")
    sound = tuple(checkpoint(step) for step in (2, 3, 4))
    series = Series(name="run", source="run", checkpoints=(broken[0], *sound, broken[1]))
    assert first_middle_last(series).checkpoints == sound
    only = Series(name="run", source="run", checkpoints=broken)
    assert first_middle_last(only) == only


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    docs = [
        {"animal": f"{ANIMALS[n % 8]} {n}", "places": list(PLACES), "place": n % len(PLACES)}
        for n in range(N_DOCS)
    ]
    config = {
        "output_type": "multiple_choice",
        "doc_to_text": "the {{animal}} sat on the",
        "doc_to_choice": "{{places}}",
        "doc_to_target": "{{place}}",
    }
    return write_task(tmp_path_factory.mktemp("tasks"), "many", docs, config).parent


def test_the_estimate_is_of_all_checkpoints_and_docs_and_stands_when_asked_again(
    tiny_run: Path, tasks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = evaluate(tiny_run, "many", output_path=out, include_path=tasks, quick=True)
    assert {row.n for row in first.rows()} == {QUICK_DOCS}
    job = first.full_job
    assert job is not None
    assert (job.n_checkpoints, job.n_docs) == (3, N_DOCS)
    assert job.seconds > 0
    assert "--quick" not in job.command
    assert "--limit" not in job.command
    again = evaluate(tiny_run, "many", output_path=out, include_path=tasks, quick=True)
    assert len(again.reused) == 3
    assert again.full_job is not None
    assert again.full_job.tokens_per_s == job.tokens_per_s
