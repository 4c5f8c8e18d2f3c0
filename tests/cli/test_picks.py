"""What `show` says of a model's habits: the band of constant answers, and the picks themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from milepost.analysis import rows
from milepost.report.charts.curves import curve
from milepost.report.scores import score_tables
from milepost.store import ResultsFolder, ResultsIndex
from milepost.store.atomic_files import read_json, write_json
from tests.analysis.made import accuracy, write_results
from tests.cli.called import milepost

PICKS = {
    "n": 10,
    "fixed": True,
    "picked": [1, 9, 0],
    "right": [2, 3, 5],
    "constant": [0.2, 0.3, 0.5],
    "picked_by_length": [2.5, 5.0, 2.5],
    "right_by_length": [1.0, 2.0, 7.0],
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """One checkpoint with a task of multiple choice, and one task that is none."""
    measured = [accuracy(value=0.3, n=10, task=task, step=10) for task in ("letters", "words")]
    path = write_results(tmp_path / "results", measured)
    (record,) = (path / "store" / "metrics").glob("*/*.json")
    free = {"prob_right": [0.4, 0.01, 10, 0.33], "acc_balanced": [0.35, 0.02, 10, 0.33]}
    choices = {
        "higher_is_better": {"prob_right": True, "acc_balanced": True},
        "figures": {"letters": free},
        "picks": {"letters": PICKS},
    }
    write_json(record, {**read_json(record), "choices": choices})
    return ResultsFolder(path).path


def test_the_table_of_a_checkpoint_has_the_band_of_constant_answers_beside_chance(results: Path) -> None:
    shown = milepost("show", results).out
    (line,) = [line for line in shown.splitlines() if line.startswith("letters ")]
    assert "0.2500   0.2000–0.5000" in line
    assert "always the same position" in " ".join(shown.split())
    assert "| chance | constant | docs |" in (markdown := milepost("show", results, "--markdown").out)
    assert "| 0.2500 | 0.2000–0.5000 | 10 |" in markdown


def test_the_table_of_checkpoints_has_the_band_of_constant_answers_below_chance() -> None:
    measured = [
        accuracy(value=0.3, n=10, task=task, step=step, constant=band, fixed_choices=band is not None)
        for step in (10, 20)
        for task, band in (("letters", (0.2, 0.5)), ("words", None))
    ]
    (table,) = score_tables(rows(measured))
    levels = {line[0].text: [cell.text for cell in line[1:]] for line in table.footer}
    assert levels["constant"] == ["0.2000–0.5000", ""]
    assert list(levels) == ["chance", "constant", "docs"]


def test_only_accuracies_that_a_habit_can_raise_have_the_band(results: Path) -> None:
    banded = {
        (row.task, row.metric) for row in ResultsIndex.open(results).metrics() if row.constant is not None
    }
    assert banded == {("letters", "acc")}


def test_free_figures_are_shown_by_name_and_exported(results: Path, tmp_path: Path) -> None:
    (row,) = json.loads(milepost("show", results, "--metric", "prob_right", "--json").out)
    assert (row["task"], row["value"], row["stderr"], row["chance"]) == ("letters", 0.4, 0.01, 0.33)
    milepost("export", results, "-o", tmp_path / "all.csv")
    assert ",letters,acc_balanced,none,0.35," in (tmp_path / "all.csv").read_text("utf-8")


def test_only_the_free_figures_asked_for_are_read_but_a_mistyped_one_finds_its_neighbours(
    results: Path,
) -> None:
    assert {row.metric for row in ResultsIndex.open(results).metrics(("prob_*",))} == {"acc", "prob_right"}
    assert {row.metric for row in ResultsIndex.open(results).metrics(())} == {"acc"}
    assert "nearest: prob_right" in milepost("show", results, "--metric", "prob_rigth").err


def test_the_chart_draws_the_band_where_there_is_one(results: Path) -> None:
    spec = curve(rows(ResultsIndex.open(results).metrics()[:1])).to_json()
    assert '"lowest": 0.2' in spec
    assert "constant answer" in spec
    assert "constant answer" not in curve(rows(ResultsIndex.open(results).metrics()[-1:])).to_json()


def test_picks_are_shown_by_position_and_by_length(results: Path) -> None:
    lines = milepost("show", results, "--picks").out.splitlines()
    assert lines[0].split() == ["run:", "letters"]
    assert lines[1].split() == ["step", "A", "B", "C", "bits", "bias", "s", "2", "l"]
    assert lines[3].split() == ["10", "10.0", "90.0", "0.0", "0.47", "60.0", "25.0", "50.0", "25.0"]
    assert "right" in "".join(lines)


def test_picks_as_json_carry_what_each_constant_answer_scores(results: Path) -> None:
    (one,) = json.loads(milepost("show", results, "--picks", "--json").out)
    assert one["constant_answer_accuracy"] == [0.2, 0.3, 0.5]
    assert one["picked"] == [0.1, 0.9, 0.0]
    assert one["right_by_length"] == [0.1, 0.2, 0.7]


def test_tasks_without_choices_have_no_picks_and_it_is_said(results: Path) -> None:
    called = milepost("show", results, "--picks", "-t", "words")
    assert called.status == 2
    assert "only multiple-choice tasks have them" in called.err
