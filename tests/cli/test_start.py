"""`milepost start`: every choice prints its command line and runs it; nobody is left in the dark."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.called import Called, milepost

Start = Callable[..., Called]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Start:
    """`milepost start` with these lines to read, on a terminal that can nothing."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.chdir(tmp_path)

    def called(*lines: object, options: tuple[str, ...] = ()) -> Called:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return milepost("start", *options)

    return called


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are called, in place of running them."""
    commands: list[list[str]] = []
    monkeypatch.setattr("milepost.cli.start.call", lambda words: commands.append(words))
    return commands


def test_each_choice_prints_the_command_line_that_it_runs(
    start: Start, tiny_run: Path, asked: list[list[str]]
) -> None:
    called = start(tiny_run, "pruning", "out", "quick", "run", "show", "plot", "questions", "end")
    assert called.status == 0
    printed = [shlex.split(line[2:]) for line in called.err.splitlines() if line.startswith("$ ")]
    assert printed == [["milepost", *words] for words in asked]
    assert asked[0] == ["run", str(tiny_run), "--suite", "pruning", "--quick", "--output-path", "out"]
    assert asked[1] == ["run", str(tiny_run), "--suite", "pruning", "--output-path", "out"]
    assert [words[:2] for words in asked[2:]] == [[name, "out"] for name in ("show", "plot", "questions")]


def test_enter_goes_from_the_quick_test_to_the_pictures(
    start: Start, tiny_run: Path, asked: list[list[str]]
) -> None:
    start(tiny_run, "", "", *[""] * 5, "end")
    assert [words[0] for words in asked] == ["run", "run", "show", "plot", "questions"]
    assert "early" in asked[0]
    assert "milepost-results" in asked[0]


def test_what_cannot_be_used_is_told_and_asked_again(
    start: Start, tiny_run: Path, asked: list[list[str]]
) -> None:
    called = start("nowhere", tiny_run, "9", "others", "arc_eesy", "arc_easy", "out", "now", "7")
    assert called.status == 0
    assert "nowhere" in called.err
    assert "a number from 1 to 5, please" in called.err
    assert "did you mean arc_easy" in called.err
    assert "a number from 1 to 7, please" in called.err
    assert asked == []


def test_a_command_that_fails_is_told_and_the_menu_goes_on(start: Start, tiny_run: Path) -> None:
    called = start(tiny_run, "early", "out", "show", "end")
    assert called.status == 0
    assert "out does not exist" in called.err
    assert called.err.count("What now?") == 2


def test_a_results_folder_that_looks_like_an_option_is_no_crash(start: Start, tiny_run: Path) -> None:
    called = start(tiny_run, "early", "--nonsense", "show", "end")
    assert called.status == 0
    assert "No such option" in called.err


def test_choosing_anew_asks_for_everything_again(
    start: Start, tiny_run: Path, asked: list[list[str]]
) -> None:
    start(tiny_run, "early", "one", "again", tiny_run, "pruning", "two", "run", "end")
    assert asked == [["run", str(tiny_run), "--suite", "pruning", "--output-path", "two"]]


def test_a_whole_way_through_really_runs(start: Start, tiny_run: Path, hub: str, tmp_path: Path) -> None:
    called = start(tiny_run, "others", "openbookqa", "out", "quick", "show", "plot", "end")
    assert called.status == 0
    assert "the full job, 3 checkpoints x 500 docs" in called.err
    assert "openbookqa" in called.out
    assert (tmp_path / "out.png").stat().st_size > 1000


def test_the_end_of_input_ends_it(start: Start, tiny_run: Path, asked: list[list[str]]) -> None:
    assert start(tiny_run, "early").status == 0
    assert start(tiny_run, "early", "out", "show").status == 0
    assert asked == [["show", "out"]]


def test_with_nobody_there_at_all_the_command_without_questions_is_named(start: Start) -> None:
    called = start()
    assert called.status == 2
    assert called.err.splitlines()[-1].startswith("hint: milepost run SOURCE --suite early --quick")


def test_ctrl_c_ends_it_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(io.StringIO):
        def readline(self, size: int | None = -1, /) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Interrupted())
    called = milepost("start")
    assert called.status == 130
    assert called.err.endswith("interrupted\n")


def test_json_asks_and_prints_the_commands_and_runs_none(
    start: Start, tiny_run: Path, asked: list[list[str]]
) -> None:
    called = start(tiny_run, "others", "piqa", "my out", options=("--json",))
    commands = json.loads(called.out)
    assert list(commands) == ["quick", "run", "show", "plot", "questions"]
    assert commands["run"] == f"milepost run {tiny_run} --tasks piqa --output-path 'my out'"
    assert asked == []
    assert start(tiny_run, options=("--json",)).status == 2


def test_names_that_turn_the_terminal_are_spelt_out(start: Start, tmp_path: Path) -> None:
    called = start("no\x1b[31mwhere")
    assert "\x1b" not in called.err
    assert "no\\x1b[31mwhere" in called.err
