"""Rows arranged for a chart."""

from __future__ import annotations

from typing import Any

import pytest

from milepost.analysis import rows
from milepost.errors import ResultsError
from milepost.report.transforms import by_tokens, together
from tests.analysis.made import perplexity, rising

STEPS = [100, 200, 300]
CLOZE = rising("mmlu_continuation", STEPS, low=0.3, high=0.6, n=1000)
LETTERS = rising("mmlu", STEPS, low=0.25, high=0.26, n=1000)


def test_tasks_together_are_lines_of_one_panel() -> None:
    arranged = together(rows([*LETTERS, *CLOZE]))
    assert {row.task for row in arranged} == {"mmlu and mmlu_continuation"}
    assert list(dict.fromkeys(row.series for row in arranged)) == ["mmlu", "mmlu_continuation"]


def test_the_band_of_the_task_with_letters_stays() -> None:
    letters = rising("mmlu", STEPS, low=0.25, high=0.26, n=1000, constant=(0.22, 0.27), fixed_choices=True)
    cloze = rising("mmlu_continuation", STEPS, low=0.3, high=0.6, n=1000, constant=(0.1, 0.9))
    assert {row.constant for row in together(rows([*letters, *cloze]))} == {(0.22, 0.27)}


def test_of_several_runs_the_lines_name_the_run_too() -> None:
    other = rising("mmlu", STEPS, low=0.25, high=0.26, n=1000, series="other")
    names = {row.series for row in together(rows([*LETTERS, *CLOZE, *other]))}
    assert names == {"run: mmlu", "run: mmlu_continuation", "other: mmlu"}


@pytest.mark.parametrize(
    ("measured", "message"),
    [(LETTERS, "cannot be drawn together"), ([*LETTERS, perplexity(value=9.0)], "different metrics")],
)
def test_what_has_no_common_axis_is_refused(measured: list[Any], message: str) -> None:
    with pytest.raises(ResultsError, match=message):
        together(rows(measured))


def test_tokens_stand_in_place_of_steps() -> None:
    other = rising("mmlu", STEPS, low=0.25, high=0.26, n=1000, series="other")
    arranged = by_tokens(rows([*LETTERS, *other]), {"": 1000, "other": 4000})
    assert [row.step for row in arranged if row.series == "run"] == [100_000, 200_000, 300_000]
    assert [row.step for row in arranged if row.series == "other"] == [400_000, 800_000, 1_200_000]


@pytest.mark.parametrize("tokens", [{"other": 1000.0}, {"run": 10.0, "nobody": 3.0}])
def test_every_series_needs_its_tokens_and_every_name_a_series(tokens: dict[str, float]) -> None:
    with pytest.raises(ResultsError, match="tokens-per-step"):
        by_tokens(rows(LETTERS), tokens)
