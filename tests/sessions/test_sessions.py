"""What the terminal shows is what the kept sessions show; see `commands` for how to write them anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sessions.commands import HERE, WIDTHS, path_of, sessions


@pytest.mark.parametrize("width", WIDTHS)
def test_the_sessions_are_as_they_were_kept(width: int, tmp_path: Path) -> None:
    for name, text in sessions(tmp_path, width):
        assert text == path_of(name, width).read_text("utf-8"), name


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_too_wide_or_ends_with_spaces(width: int) -> None:
    kept = sorted(HERE.glob(f"*-{width}.txt"))
    assert kept
    for path in kept:
        for line in path.read_text("utf-8").splitlines():
            assert len(line) <= width, path.name
            assert line == line.rstrip(), path.name
