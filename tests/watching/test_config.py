"""What a watch is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from milepost.errors import MilepostError
from milepost.run.config import EvalConfig
from milepost.sources import Steps
from milepost.tasks.settings import TaskSettings
from milepost.watching.config import WatchConfig, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), (" 1D ", 86_400), ("1.5h", 5400)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5x", "m", "-3m", "0", "0.2s", "3 m", "1..5h"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(MilepostError) as caught:
        parse_duration(text)
    assert "30m" in (caught.value.hint or "")


def settings(**given: Any) -> WatchConfig:
    steps = given.pop("steps", None)
    run = EvalConfig(
        sources=("run",),
        tasks=TaskSettings(names=("arc_easy",)),
        output_path=Path("out"),
        steps=Steps.parse(steps) if isinstance(steps, str) else None,
    )
    return WatchConfig(run=run, **given)


@pytest.mark.parametrize(
    ("steps", "until", "last"),
    [
        (None, None, None),
        (None, 500, 500),
        ("0:1000:300", None, 900),
        (":1000", 700, 700),
        ("100:", None, None),
    ],
)
def test_the_watch_ends_at_the_earlier_of_until_and_the_last_of_steps(
    steps: str | None, until: int | None, last: int | None
) -> None:
    assert settings(steps=steps, until=until).last_step == last


@pytest.mark.parametrize("wrong", [{"order": "random"}, {"until": -1}])
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(MilepostError):
        settings(**wrong)
