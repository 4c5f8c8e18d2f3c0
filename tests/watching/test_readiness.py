"""When a checkpoint of a live run may be touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.types.checkpoints import Checkpoint, HubLocation
from milepost.watching.readiness import PATIENCE, Readiness

SETTLE_S = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def readiness(clock: Clock) -> Readiness:
    return Readiness(SETTLE_S, clock)


def saved(folder: Path, *names: str, problem: str | None = None) -> Checkpoint:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("config.json", "model.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return Checkpoint(
        series="run", name=folder.name, step=1, source=str(folder), format="safetensors", location=folder,
        problem=problem,
    )  # fmt: skip


def settle(readiness: Readiness, clock: Clock, checkpoint: Checkpoint) -> str | None:
    readiness.waits_for(checkpoint)
    clock.now += SETTLE_S
    return readiness.waits_for(checkpoint)


def test_a_checkpoint_is_ready_once_it_was_at_rest(
    tmp_path: Path, readiness: Readiness, clock: Clock
) -> None:
    checkpoint = saved(tmp_path / "checkpoint-1")
    assert readiness.waits_for(checkpoint) == "it is still being written"
    clock.now += SETTLE_S - 0.1
    assert readiness.waits_for(checkpoint) == "it is still being written"
    clock.now += 0.1
    assert readiness.waits_for(checkpoint) is None


@pytest.mark.parametrize("late", ["optimizer.pt", "mp_rank_01/model_optim_rng.pt"])
def test_a_file_that_comes_late_starts_the_time_anew(
    late: str, tmp_path: Path, readiness: Readiness, clock: Clock
) -> None:
    checkpoint = saved(tmp_path / "checkpoint-1")
    readiness.waits_for(checkpoint)
    clock.now += SETTLE_S - 1
    saved(tmp_path / "checkpoint-1", late)
    assert readiness.waits_for(checkpoint) is not None
    clock.now += SETTLE_S - 1
    assert readiness.waits_for(checkpoint) is not None
    clock.now += 1
    assert readiness.waits_for(checkpoint) is None


def test_what_is_wrong_with_its_content_is_what_it_waits_for(
    tmp_path: Path, readiness: Readiness, clock: Clock
) -> None:
    checkpoint = saved(tmp_path / "checkpoint-1", problem="model.safetensors ends early")
    assert settle(readiness, clock, checkpoint) == "model.safetensors ends early"


def test_it_waits_for_the_last_file_that_the_others_have(
    tmp_path: Path, readiness: Readiness, clock: Clock
) -> None:
    names = ("config.json", "model.safetensors", "trainer_state.json")
    for number in (1, 2):
        assert settle(readiness, clock, saved(tmp_path / f"checkpoint-{number}", *names)) is None
    third = saved(tmp_path / "checkpoint-3", *names[:2])
    assert settle(readiness, clock, third) == "it has no trainer_state.json, which the others have"
    saved(tmp_path / "checkpoint-3", *names[2:])
    assert settle(readiness, clock, third) is None


def test_it_does_not_wait_for_ever_for_a_file_that_only_the_others_have(
    tmp_path: Path, readiness: Readiness, clock: Clock
) -> None:
    settle(readiness, clock, saved(tmp_path / "checkpoint-1", "model.safetensors", "optimizer.pt"))
    second = saved(tmp_path / "checkpoint-2", "model.safetensors")
    assert settle(readiness, clock, second) is not None
    clock.now += PATIENCE * SETTLE_S
    assert readiness.waits_for(second) is None
    # From now on it is known that not every checkpoint of this run has one.
    assert settle(readiness, clock, saved(tmp_path / "checkpoint-3", "model.safetensors")) is None


def test_a_deleted_checkpoint_is_not_ready(tmp_path: Path, readiness: Readiness) -> None:
    checkpoint = saved(tmp_path / "checkpoint-1")
    for file in (tmp_path / "checkpoint-1").iterdir():
        file.unlink()
    (tmp_path / "checkpoint-1").rmdir()
    assert readiness.waits_for(checkpoint) == "it was deleted"


def test_a_commit_of_the_hub_is_ready_at_once(readiness: Readiness) -> None:
    location = HubLocation(repo_id="org/name", revision="step-1", commit="c0ffee")
    checkpoint = Checkpoint(
        series="name", name="step-1", step=1, source="hf://org/name@step-1", format="safetensors",
        location=location,
    )  # fmt: skip
    assert readiness.waits_for(checkpoint) is None
