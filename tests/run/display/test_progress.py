"""How far a run is, told in plain lines where there is no terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from milepost.run.display import timing
from milepost.run.display.progress import show_progress
from milepost.run.display.timing import Clock
from milepost.types.checkpoints import Checkpoint


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(
        series="run", name=f"step-{step}", step=step, source="", format="safetensors", location=Path()
    )


class Task:
    """A task of one shard."""

    name = "farm"

    def work_of(self, shard: object) -> int:
        return 1000


FARM: Any = (Task(), None)


class Time:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_line_per_checkpoint_with_the_time_it_took_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time()
    monkeypatch.setattr(timing, "time", time)
    with show_progress(3, Clock({checkpoint(step): {"farm": 1000} for step in (1, 2, 3)})) as shown:
        for step in (1, 2, 3):
            shown.start(checkpoint(step))
            time.now += 10
            shown.advance(checkpoint(step), FARM)
            shown.clock.lap(checkpoint(step)).scoring_s = 10
            shown.finish(checkpoint(step), "scored")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "[1/3] run step-1: scored, 10 s, about 20 s left",
        "[2/3] run step-2: scored, 10 s, about 10 s left",
        "[3/3] run step-3: scored, 10 s",
    ]


def test_on_a_terminal_names_are_shown_as_they_are_and_not_as_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress(1, Clock({checkpoint(1): {"farm": 2000}})) as shown:
        shown.start(checkpoint(1))
        shown.advance(checkpoint(1), FARM)
        shown.finish(checkpoint(1), "scored [bold]loud[/bold]")
    assert "[bold]loud[/bold]" in capsys.readouterr().err
