"""Results go to standard output, a pipe loses nothing, and nothing controls the terminal."""

from __future__ import annotations

import json

import pytest

from milepost.cli.output import say, say_blocks, say_json, tell, tell_failure
from milepost.report.blocks import Note
from milepost.report.table import Table, cells, columns

NAMES = [f"column_{i}" for i in range(40)]
WIDE = (Table(columns(*NAMES), (cells(NAMES),)), Note("word " * 100))


def test_a_pipe_gets_whole_lines_where_columns_asks_for_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    say_blocks(WIDE)
    heading, _rule, row, note = capsys.readouterr().out.splitlines()
    assert heading.split() == row.split() == NAMES
    assert note.split() == ["word"] * 100


def test_a_pipe_without_a_width_gets_lines_of_80_columns_and_loses_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    say_blocks(WIDE)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    of_table = [line.split() for line in lines if line.startswith("column_")]
    headings, rows = of_table[::2], of_table[1::2]
    assert headings == rows
    assert all(first == NAMES[0] for first, *_ in headings)
    assert [name for _, *others in headings for name in others] == NAMES[1:]
    assert " ".join(lines).split().count("word") == 100


def test_results_and_the_rest_are_two_streams(capsys: pytest.CaptureFixture[str]) -> None:
    say("result")
    tell("beside it")
    tell_failure("run/step-1", "out of memory")
    assert capsys.readouterr() == ("result\n", "beside it\nfailed: run/step-1: out of memory\n")


def test_names_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[31mb")
    tell("c\nd")
    assert capsys.readouterr() == ("a\\x1b[31mb\n", "c\\nd\n")


def test_json_is_one_value_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    say_json({"name": "中"})
    assert json.loads(capsys.readouterr().out) == {"name": "中"}
