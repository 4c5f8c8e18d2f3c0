"""What a mistyped name is answered with, in the reader's language."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.analysis.made import mmlu, write_results
from tests.cli.called import milepost


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_results(tmp_path / "results", mmlu([10, 20], subjects=2))


@pytest.mark.parametrize(
    ("language", "error", "hint"),
    [
        ("en", "No such command 'shwo'.", "did you mean show?"),
        ("zh_CN", "没有命令 'shwo'。", "是不是想用 show？"),
    ],
)
def test_a_mistyped_command(monkeypatch: pytest.MonkeyPatch, language: str, error: str, hint: str) -> None:
    monkeypatch.setenv("MILEPOST_LANG", language)
    called = milepost("shwo")
    assert called.status == 2
    assert called.err.splitlines()[0].endswith(error)
    assert called.err.splitlines()[1].endswith(hint)


def test_a_command_like_no_other_leads_to_the_list_of_commands() -> None:
    assert "`milepost --help` lists the commands" in milepost("zzzz").err


@pytest.mark.parametrize(("option", "named"), [("-t", "任务"), ("--series", "系列"), ("--metric", "指标")])
def test_what_nothing_matches_is_named_in_chinese_too(
    monkeypatch: pytest.MonkeyPatch, results: Path, option: str, named: str
) -> None:
    monkeypatch.setenv("MILEPOST_LANG", "zh_CN")
    called = milepost("show", results, option, "nosuch")
    assert called.status == 2
    assert f"没有{named}与 `nosuch` 匹配" in called.err


@pytest.mark.parametrize(
    ("language", "error"), [("en", "gone.yaml does not exist"), ("zh_CN", "gone.yaml 不存在")]
)
def test_published_scores_that_are_not_there(
    monkeypatch: pytest.MonkeyPatch, results: Path, tmp_path: Path, language: str, error: str
) -> None:
    monkeypatch.setenv("MILEPOST_LANG", language)
    called = milepost("leaderboard", results, "--baselines", tmp_path / "gone.yaml")
    assert called.status == 2
    assert error in called.err.splitlines()[0]
    assert "docs/watch.md" in called.err
