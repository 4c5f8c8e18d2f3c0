"""Messages at the width of a terminal: broken between words, whole in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len

from milepost.text.wrapping import broken_message, fitted

BRANCHES = "note: hf://tiny/english-4m has other branches: step-25, step-100, step-400, step-800, step-1200"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_name_with_a_hyphen_is_cut() -> None:
    lines = broken_message(BRANCHES, 80)
    assert lines == [BRANCHES[: BRANCHES.index("step-800") - 1], "step-800, step-1200"]


def test_a_command_in_backticks_stays_whole() -> None:
    lines = broken_message("hint: repeat the command, `milepost run runs/my-500m -t mmlu`, with -o", 40)
    assert "`milepost run runs/my-500m -t mmlu`," in lines


@pytest.mark.parametrize("width", [20, 37, 80])
def test_chinese_breaks_between_characters_and_no_line_begins_with_a_comma(width: int) -> None:
    text = "警告：mmlu_anatomy：216 个请求（共 400 个）比模型的 256 个 token 长，从左侧截断；" * 3
    lines = broken_message(text, width)
    assert max(map(cell_len, lines)) <= width
    assert [line for line in lines if line[0] in "，；：。"] == []
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_word_wider_than_the_terminal_has_a_line_of_its_own() -> None:
    assert broken_message("error: /a/very/long/path does not exist", 12) == [
        "error:",
        "/a/very/long/path",
        "does not",
        "exist",
    ]


def test_a_message_in_a_pipe_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert fitted(BRANCHES, io.StringIO()) == BRANCHES
    assert fitted(BRANCHES, Terminal()).count("\n") == 2


def test_the_space_before_a_command_is_kept() -> None:
    assert broken_message("  milepost run runs/my-500m", 80) == ["  milepost run runs/my-500m"]
