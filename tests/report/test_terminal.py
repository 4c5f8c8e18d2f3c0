"""Tables in the terminal: nothing cut off, nothing taken for markup."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from milepost.analysis import rows
from milepost.report.terminal import print_table, table
from tests.analysis.made import measurement, mmlu


def printed(found: Any, width: int) -> Any:
    out = io.StringIO()
    print_table(rows(found), Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 105, 106, 107, 120, 200])
def test_a_wide_table_is_wrapped_and_every_figure_is_there(width: int) -> None:
    found = mmlu([1000, 2000], subjects=20)
    text = printed(found, width)
    tables = text.split("\n\n± ")[0]
    assert max(map(len, tables.splitlines())) <= width
    assert text.count(" ± ") == len(found)
    assert text.count("step ") == len(table(rows(found), width=width))
    for each in found:
        assert each.task in text


def test_a_column_wider_than_the_window_is_not_cut() -> None:
    name = "a_task_with_a_name_that_is_longer_than_the_window_is_wide"
    assert name in printed([measurement(task=name)], width=30)


def test_each_series_has_its_own_table() -> None:
    text = printed([measurement(series=name) for name in ("first", "second")], width=80)
    assert text.index("first") < text.index("second")
    assert text.count("chance") == 2


def test_names_are_not_markup() -> None:
    text = printed([measurement(series="[red]run[/]", task="[bold]t")], width=80)
    assert "[red]run[/]" in text
    assert "[bold]t" in text


def test_the_best_has_a_star_even_without_colour() -> None:
    text = printed([measurement(value=v, step=s) for s, v in ((1, 0.1), (2, 0.4), (3, 0.2))], width=80)
    starred = [line for line in text.splitlines() if "* 0." in line]
    assert len(starred) == 1
    assert starred[0].split()[:3] == ["2", "*", "0.4000"]
