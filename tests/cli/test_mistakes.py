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


@pytest.mark.parametrize("command", ["list", "run"])
def test_a_results_folder_given_as_a_source_is_told_apart(
    command: str, results: Path, tmp_path: Path
) -> None:
    called = milepost(
        command, results, *(("-t", "arc_easy", "-o", tmp_path / "out") if command == "run" else ())
    )
    assert called.status == 2
    assert f"`milepost show {results}` prints them" in called.err


def test_a_task_of_ones_own_is_missed_without_its_folder(tiny_run: Path, tmp_path: Path) -> None:
    called = milepost("run", tiny_run, "-t", "world", "-o", tmp_path / "out")
    assert called.status == 2
    assert "YAML tasks of your own need --include-path FOLDER" in called.err


@pytest.mark.parametrize("command", ["show", "questions", "signal", "leaderboard"])
@pytest.mark.parametrize("option", ["-t", "--task", "--tasks"])
def test_tasks_are_chosen_by_one_name_or_the_other(command: str, option: str, results: Path) -> None:
    assert "`nosuch`" in milepost(command, results, option, "nosuch").err


@pytest.mark.parametrize("command", ["show", "leaderboard"])
@pytest.mark.parametrize("option", ["--metric", "--metrics"])
def test_metrics_are_chosen_by_one_name_or_the_other(command: str, option: str, results: Path) -> None:
    error = milepost(command, results, option, "nosuch").err
    assert "nosuch" in error
    assert "No such option" not in error
