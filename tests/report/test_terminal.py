"""Tables in a terminal: nothing is cut off, nothing is taken for markup, wide tables continue in parts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from milepost.analysis import rows
from milepost.report.blocks import Block, Bullets, Chart, Details, Facts, Heading, Line, Note, Quote
from milepost.report.scores import score_report
from milepost.report.table import Cell, Column, Table, cells, columns
from milepost.report.terminal import BETWEEN_COLUMNS, broken, columns_in_parts, print_blocks
from milepost.types.metrics import Measurement
from tests.analysis.made import measurement, mmlu


def printed(blocks: Sequence[Block], width: int) -> str:
    out = io.StringIO()
    print_blocks(blocks, Console(file=out, width=width, no_color=True))
    return out.getvalue()


def scores(found: Sequence[Measurement], width: int) -> str:
    return printed(list(score_report(rows(found))), width)


VERDICTS = Table(
    columns("task", "first", "second", "verdict", left=("task", "verdict")),
    (cells(["mmlu", "0.1234 at 1000", "0.2345 at 2000", "no improvement shown"]),),
    title="results",
)


@pytest.mark.parametrize("width", [60, 80, 100, 105, 106, 107, 120, 200])
def test_a_wide_table_is_wrapped_and_every_figure_is_there(width: int) -> None:
    found = mmlu([1000, 2000], subjects=20)
    text = scores(found, width)
    tables = text.split("\n\n± ")[0]
    assert max(map(len, tables.splitlines())) <= width
    assert text.count(" ± ") == len(found)
    for each in found:
        assert each.task in text


def test_a_column_wider_than_the_window_is_not_cut() -> None:
    name = "a_task_with_a_name_that_is_longer_than_the_window_is_wide"
    assert name in scores([measurement(task=name)], width=30)


def test_each_series_has_its_own_table() -> None:
    found = [measurement(series=name, step=step) for name in ("first", "second") for step in (1, 2)]
    text = scores(found, width=80)
    assert text.index("first") < text.index("second")
    assert text.count("chance") == 2


def test_models_with_one_checkpoint_each_stand_side_by_side_with_tasks_down() -> None:
    found = [
        measurement(series=series, task=task, value=value)
        for series, value in (("first", 0.5), ("second", 0.75))
        for task in ("arc_easy", "piqa")
    ]
    lines = scores(found, width=80).splitlines()
    assert [line.split()[0] for line in lines if "acc ↑" in line] == ["arc_easy", "piqa"]
    assert all("0.5000" in line and "0.7500" in line for line in lines if "acc ↑" in line)


@given(st.text("ab _-", max_size=60), st.integers(1, 30))
def test_text_is_broken_at_spaces_only(text: str, width: int) -> None:
    lines = broken(text, width)
    assert " ".join(lines) == text
    assert all(len(line) <= width or " " not in line for line in lines)


@given(st.text("ab _:,7", max_size=60), st.integers(1, 30))
def test_a_long_name_is_broken_after_its_colons_and_commas_too(text: str, width: int) -> None:
    lines = broken(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    for line in lines:
        assert len(line) <= width or not any(a in ":," and b in "ab" for a, b in pairwise(line))
    assert broken("1,234,567", 4) == ["1,234,567"]


def test_columns_with_long_names_stand_side_by_side() -> None:
    entry = "commonsense:dataset=hellaswag,method=multiple_choice_separate_original"
    asked = ("mmlu:subject=anatomy", entry)
    found = [measurement(task=task, step=step) for task in asked for step in (1, 2)]
    text = scores(found, width=80)
    assert [line.split() for line in text.splitlines()[1:3]] == [
        ["commonsense:dataset=hellaswag,"],
        ["mmlu:subject=anatomy", "method=multiple_choice_separate_original"],
    ]
    assert entry in scores(found, width=120)


def test_no_line_ends_with_spaces_and_none_is_wider_than_a_pipe() -> None:
    for width in (40, 80, 200):
        for line in scores(mmlu([1000, 2000], subjects=20), width).splitlines():
            assert line == line.rstrip()
            assert len(line) <= width


def test_names_are_not_markup() -> None:
    text = scores([measurement(series="[red]run[/]", task="[bold]t")], width=80)
    assert "[red]run[/]" in text
    assert "[bold]t" in text


def test_the_best_has_a_star_even_without_colour() -> None:
    text = scores([measurement(value=v, step=s) for s, v in ((1, 0.1), (2, 0.4), (3, 0.2))], width=80)
    starred = [line for line in text.splitlines() if "* 0." in line]
    assert len(starred) == 1
    assert starred[0].split()[:3] == ["2", "*", "0.4000"]


def test_a_narrow_window_gets_parts_with_the_first_column_again() -> None:
    lines = [line for line in printed([VERDICTS], 40).splitlines() if line.startswith("mmlu")]
    assert [line.split()[1:] for line in lines] == [
        ["0.1234", "at", "1000", "0.2345", "at", "2000"],
        ["no", "improvement", "shown"],
    ]
    assert "results (2 of 2)" in printed([VERDICTS], 40)


def test_a_window_that_is_wide_enough_gets_one_part() -> None:
    lines = printed([VERDICTS], 100).splitlines()
    assert len([line for line in lines if line.startswith("mmlu")]) == 1
    assert not any(" of " in line for line in lines)


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


def test_only_a_column_that_may_wrap_is_broken_into_lines() -> None:
    reason = "the file that has the weights of the last layer is shorter than its header says"
    table = Table(columns("name", "reason", wraps=("reason",)), (cells(["checkpoint-1000", reason]),))
    text = printed([table], 60)
    assert " ".join(text.split()).endswith(reason)
    assert max(map(len, text.splitlines())) <= 60


def test_every_kind_of_block_is_printed_except_a_chart() -> None:
    table = Table((Column("name", align="left"),), (cells(["cell"]),), notes=("below",))
    blocks: list[Block] = [
        Heading("heading"),
        Note("note"),
        Line((Cell("left ", "strong"), Cell("right"))),
        Bullets(("item",)),
        Quote("quote"),
        Facts((("fact", "value"),)),
        Chart({}, "chart"),
        Details("more", (table,)),
        "text",
    ]
    assert [line.strip() for line in printed(blocks, 40).splitlines()] == [
        *("heading", "note", "left right", "- item", "quote", "fact: value", "more"),
        *("name", "────", "cell", "below", "text"),
    ]
