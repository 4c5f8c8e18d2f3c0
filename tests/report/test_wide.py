"""Tables wider than the window: nothing is shortened, on a terminal nothing runs over the edge."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

from milepost.report.wide import BETWEEN_COLUMNS, Wide, columns_in_parts


def printed(width: int, *, terminal: bool) -> list[str]:
    table = Table(title=Text("results"), box=None, pad_edge=False)
    for heading in ("task", "first", "second", "verdict"):
        table.add_column(heading, no_wrap=True)
    table.add_row("mmlu", "0.1234 at 1000", "0.2345 at 2000", "no improvement shown")
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, no_color=True)
    console.print(Wide(table), crop=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_pipe_gets_whole_lines() -> None:
    (line,) = [line for line in printed(40, terminal=False) if line.startswith("mmlu")]
    assert line.split() == [
        "mmlu",
        "0.1234",
        "at",
        "1000",
        "0.2345",
        "at",
        "2000",
        "no",
        "improvement",
        "shown",
    ]


def test_a_terminal_gets_parts_with_the_first_column_again() -> None:
    lines = [line for line in printed(40, terminal=True) if line.startswith("mmlu")]
    assert [line.split()[1:] for line in lines] == [
        ["0.1234", "at", "1000", "0.2345", "at", "2000"],
        ["no", "improvement", "shown"],
    ]
    assert any("results (2 of 2)" in line for line in printed(40, terminal=True))


def test_a_window_that_is_wide_enough_gets_one_part() -> None:
    assert len([line for line in printed(100, terminal=True) if line.startswith("mmlu")]) == 1
    assert not any("of" in line for line in printed(100, terminal=True))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.integers(10, 120))
def test_every_column_is_in_one_part_and_only_a_column_of_its_own_runs_over(
    widths: list[int], room: int
) -> None:
    parts = columns_in_parts(widths, room)
    assert [place for part in parts for place in part[1:]] == list(range(1, len(widths)))
    for part in parts:
        assert part[0] == 0
        used = sum(widths[place] for place in part) + BETWEEN_COLUMNS * (len(part) - 1)
        assert used <= room or len(part) <= 2
