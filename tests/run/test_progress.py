"""How far a run is, told in plain lines where there is no terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.run import progress
from milepost.run.progress import show_progress
from milepost.run.timing import format_duration
from milepost.types import Checkpoint


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(
        series="run", name=f"step-{step}", step=step, source="", format="safetensors", location=Path()
    )


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_line_per_checkpoint_with_the_time_it_took_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with show_progress(3, 3000) as shown:
        for step in (1, 2, 3):
            shown.start(checkpoint(step), 1000)
            clock.now += 30
            shown.advance(1000)
            shown.finish(checkpoint(step), "scored")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "[1/3] run step-1: scored, 30 s, about 60 s left",
        "[2/3] run step-2: scored, 30 s, about 30 s left",
        "[3/3] run step-3: scored, 30 s",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.25, "0.2 s"), (59.6, "60 s"), (150, "2 min"), (7200, "2.0 h")]
)
def test_durations_are_told_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert format_duration(seconds) == said


def test_on_a_terminal_names_are_shown_as_they_are_and_not_as_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress(1, 10) as shown:
        shown.start(checkpoint(1), 10)
        shown.advance(4)
        shown.finish(checkpoint(1), "scored [bold]loud[/bold]")
    assert "[bold]loud[/bold]" in capsys.readouterr().err
