"""What is said of a long run before and while it goes: little, and true."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.run import estimate
from milepost.run.estimate import Estimating
from milepost.run.progress import Lines
from milepost.types import Checkpoint

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
    progress = Estimating(Lines(10), 10_000)
    progress.start(CHECKPOINT, 1_000)
    for _ in range(4):
        clock.now += 4
        progress.advance(200)
    assert capsys.readouterr().err == "50 tokens/s: about 3 min for what is not scored yet\n"


def test_a_short_run_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    progress = Estimating(Lines(2), 2_000)
    progress.start(CHECKPOINT, 1_000)
    clock.now += 10
    progress.advance(1_000)
    assert capsys.readouterr().err == ""
