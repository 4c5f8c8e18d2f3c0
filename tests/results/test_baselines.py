"""Published figures from YAML, and what is said of mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.analysis.leaderboard.entries import BoardColumn
from milepost.errors import ResultsError
from milepost.results.baselines import read_baselines

COLUMNS = (
    BoardColumn("arc_easy", "acc", "none"),
    BoardColumn("arc_easy", "acc_norm", "none"),
    BoardColumn("wikitext", "word_perplexity", "none"),
)


def written(folder: Path, text: str) -> Path:
    path = folder / "published.yaml"
    path.write_text(text)
    return path


def test_figures_are_read_by_metric_or_for_the_first_metric(tmp_path: Path) -> None:
    text = "A:\n  source: https://example.org\n  arc_easy: {acc: 0.5, acc_norm: 0.6}\nB:\n  arc_easy: 0.4\n"
    first, second = read_baselines(written(tmp_path, text), COLUMNS)
    assert (first.name, first.source, first.scores) == (
        "A",
        "https://example.org",
        {COLUMNS[0]: 0.5, COLUMNS[1]: 0.6},
    )
    assert second.scores == {COLUMNS[0]: 0.4}


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("A:\n  arc_easi: 0.5\n", 2, "no task arc_easi", "arc_easy"),
        ("A:\n  arc_easy:\n    acc: 0.5\n    accnorm: 0.5\n", 4, "no metric accnorm", "acc_norm"),
        ("A:\n  arc_easy: 58.9\n", 2, "58.9 cannot be the acc of arc_easy", "0.589"),
        ("A:\n  wikitext: 0.3\n", 2, "0.3 cannot be the word_perplexity", ""),
        ("A:\n  arc_easy: high\n", 2, "is not a number", "0.421"),
        ("A:\n  arc_easy: .nan\n", 2, "is not a number", ""),
        ("A:\n  arc_easy: 0.5\n  arc_easy: 0.6\n", 3, "stands there twice", ""),
        ("A:\n  arc_easy: [0.5]\n", 2, "must be `name: value` pairs", ""),
        ("- A\n", 1, "must be `name: value` pairs", ""),
        ("A:\n  arc_easy: {acc: 0.5\nB: 1\n", 3, "", ""),
    ],
)
def test_a_mistake_is_told_with_its_line(
    text: str, line: int, message: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(ResultsError) as caught:
        read_baselines(written(tmp_path, text), COLUMNS)
    assert f"line {line}:" in caught.value.message
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["", "{}", "# nothing\n"])
def test_a_file_without_models_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ResultsError):
        read_baselines(written(tmp_path, text), COLUMNS)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="nowhere"):
        read_baselines(tmp_path / "nowhere.yaml", COLUMNS)


def test_a_file_of_nothing_but_brackets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="too many brackets in one another"):
        read_baselines(written(tmp_path, "[" * 20_000 + "]" * 20_000), COLUMNS)
