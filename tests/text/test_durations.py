"""Durations are written for people."""

from __future__ import annotations

import pytest

from milepost.text.durations import format_duration, time_left
from milepost.text.language import speaking


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.2 s"), (59.6, "60 s"), (150, "2 min"), (7200, "2.0 h")]
)
def test_durations_are_written_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_the_time_left_is_told_in_the_readers_language() -> None:
    assert time_left(150, "8 docs of arc_easy took 2.1 s") == (
        "about 2 min left (8 docs of arc_easy took 2.1 s)"
    )
    with speaking("zh-CN"):
        assert time_left(150) == "还剩约 2 分钟"
