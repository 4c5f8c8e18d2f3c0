"""What is said of a long run before and while it goes: little, and true."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost import evaluate
from milepost.run import estimate
from milepost.run.config import EvalConfig
from milepost.run.estimate import Estimating, expect
from milepost.run.journal import Journal
from milepost.run.planning import make_plan
from milepost.run.progress import Lines
from milepost.run.series import prepare_series
from milepost.sources import discover
from milepost.tasks.settings import TaskSettings
from milepost.types import Checkpoint
from tests.run.own_tasks import write_tasks

CHECKPOINT = Checkpoint(
    series="run",
    name="step-1",
    step=1,
    source="/run/step-1",
    format="safetensors",
    location=Path("/run/step-1"),
)


class Clock:
    """Time that passes when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(estimate.time, "monotonic", lambda: self.now)


def test_time_left_is_told_once_from_the_measured_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    progress = Estimating(Lines(10, 1), {CHECKPOINT: 10_000})
    progress.start(CHECKPOINT, 1_000)
    for _ in range(4):
        clock.now += 4
        progress.advance(200)
    assert capsys.readouterr().err == "50 tokens/s: about 3 min for what is not scored yet\n"


def test_the_first_shard_of_a_gpu_is_not_measured_as_it_compiles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    progress = Estimating(Lines(10, 1), {CHECKPOINT: 10_000}, compiles=True)
    progress.start(CHECKPOINT, 1_000)
    for seconds in (200, 4, 4):
        clock.now += seconds
        progress.advance(200)
    assert capsys.readouterr().err == "50 tokens/s: about 3 min for what is not scored yet\n"


def test_a_short_run_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    progress = Estimating(Lines(2, 1), {CHECKPOINT: 2_000})
    progress.start(CHECKPOINT, 1_000)
    clock.now += 10
    progress.advance(1_000)
    assert capsys.readouterr().err == ""


def test_what_is_stored_already_is_no_work_to_come(tiny_run: Path, tmp_path: Path) -> None:
    tasks, out = write_tasks(tmp_path / "tasks"), tmp_path / "out"
    evaluate(tiny_run, "where", include_path=tasks, output_path=out, steps="10")
    settings = EvalConfig(
        sources=(str(tiny_run),),
        tasks=TaskSettings(names=("where",), include_path=tasks),
        output_path=out,
    )
    series = prepare_series(discover(str(tiny_run)), settings)
    with Journal() as journal:
        plan = make_plan(
            settings.tasks,
            series.load_tokenizer,
            series.tokenizer_id,
            series.max_length,
            shard_tokens=settings.shard_tokens,
            reuse=True,
            journal=journal,
            defaults=next(iter(series.generations.values())),
        ).plan
    expected = [expect(out, series, one, plan, settings) for one in series.checkpoints]
    assert [one.is_done for one in expected] == [True, False, False]
    assert [one.n_tokens for one in expected] == [0, plan.n_tokens, plan.n_tokens]
