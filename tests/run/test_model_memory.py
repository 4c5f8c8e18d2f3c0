"""The memory that a model needs is compared with the devices before it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.errors import MilepostError
from milepost.run import evaluation, model_memory
from milepost.run.executors.local import places
from tests.run.own_tasks import write_tasks


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def size_of(checkpoint: Path) -> int:
    return (checkpoint / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("shares", "options", "message", "hint"),
    [
        ((0.9,), {}, "checkpoint-10 needs about .* and no device here has more than", "more memory"),
        ((0.6, 0.6), {}, "no device here has more than", "--device-map auto"),
        ((2.0, 0.6), {}, "and one of the GPUs has", "--devices 0 leaves out"),
        ((2.0, 0.6), {"devices": "1"}, "no device here has more than", "--device-map auto"),
        ((0.4, 0.4), {"device_map": "auto"}, "and the devices here have", "more memory"),
    ],
)
def test_a_model_that_no_device_can_hold_is_refused_before_anything_is_written(
    tiny_run: Path,
    tasks: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shares: tuple[float, ...],
    options: dict[str, Any],
    message: str,
    hint: str,
) -> None:
    size = size_of(tiny_run / "checkpoint-10")
    monkeypatch.setattr(model_memory, "device_memory", lambda _: [int(share * size) for share in shares])
    monkeypatch.setattr(evaluation, "check_device", lambda _: None)
    monkeypatch.setattr(evaluation, "workers_at_a_device", lambda _: 1)
    with pytest.raises(MilepostError, match=message) as caught:
        milepost.evaluate(tiny_run, "where", include_path=tasks, output_path=tmp_path / "out", **options)
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_workers_that_share_a_memory_too_small_for_all_their_models_are_refused(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = size_of(tiny_run / "checkpoint-10")
    monkeypatch.setattr(model_memory, "device_memory", lambda _: [int(size / 0.6)])
    monkeypatch.setattr(places, "usable_cores", lambda: 2)
    asked: dict[str, Any] = {"tasks": "where", "include_path": tasks, "output_path": tmp_path / "out"}
    with pytest.raises(
        MilepostError, match=r"2 workers need about .* each for checkpoint-10, and this machine has"
    ) as caught:
        milepost.evaluate(tiny_run, **asked, workers=2)
    assert (caught.value.exit_code, caught.value.hint) == (2, "at most --workers 1")
    assert not (tmp_path / "out").exists()


def test_half_the_memory_is_enough_in_half_precision(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = size_of(tiny_run / "checkpoint-10")
    monkeypatch.setattr(model_memory, "device_memory", lambda _: [int(0.6 * size)])
    results = milepost.evaluate(
        tiny_run, "where", include_path=tasks, output_path=tmp_path / "out", dtype="bfloat16", steps="10:10"
    )
    assert len(results.scored) == 1


def test_what_is_scored_needs_no_memory(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate() -> milepost.Results:
        return milepost.evaluate(
            tiny_run,
            "where",
            include_path=tasks,
            output_path=tmp_path / "out",
            device_map="auto",
            steps="10:10",
        )

    assert len(evaluate().scored) == 1
    monkeypatch.setattr(model_memory, "device_memory", lambda _: [1])
    assert len(evaluate().reused) == 1
