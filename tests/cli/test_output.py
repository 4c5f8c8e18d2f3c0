"""Results go to standard output, a pipe gets whole lines, and nothing controls the terminal."""

from __future__ import annotations

import json

import pytest

from milepost.cli.output import say, say_blocks, say_json, tell, tell_failure
from milepost.report.blocks import Note
from milepost.report.table import Table, cells, columns


def test_a_pipe_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"column_{i}" for i in range(40)]
    say_blocks([Table(columns(*names), (cells(names),)), Note("word " * 100)])
    heading, _rule, row, note = capsys.readouterr().out.splitlines()
    assert heading.split() == row.split() == names
    assert note.split() == ["word"] * 100


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
