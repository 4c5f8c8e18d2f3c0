"""Selection: patterns, the rows shown by default, and the hint if nothing matches."""

from __future__ import annotations

from typing import Any

import pytest

from milepost.analysis.selection import select, summary_rows
from milepost.errors import ResultsError
from tests.analysis.made import measurement, mmlu, perplexity


def tasks_of(found: Any) -> Any:
    return list(dict.fromkeys(each.task for each in found))


def test_by_default_groups_and_lone_tasks_are_shown_and_subjects_are_not() -> None:
    shown = summary_rows([*mmlu([1]), perplexity(value=20.0)])
    groups = ["mmlu", "mmlu_stem", "mmlu_humanities", "mmlu_social_sciences", "mmlu_other"]
    assert tasks_of(shown) == [*groups, "wikitext"]


def test_all_shows_the_subjects_too() -> None:
    assert len(tasks_of(summary_rows(mmlu([1]), subjects=True))) == 62


def test_a_task_is_shown_when_its_group_has_no_metric() -> None:
    assert tasks_of(summary_rows([measurement(task="anatomy", parents=("mmlu",))])) == ["anatomy"]


def test_patterns_choose_subjects() -> None:
    shown = summary_rows(mmlu([1]), tasks=["mmlu_subject_0[1-3]", "mmlu_stem"])
    assert tasks_of(shown) == ["mmlu_stem", "mmlu_subject_01", "mmlu_subject_02", "mmlu_subject_03"]


def test_by_default_each_task_shows_the_metric_it_lists_first() -> None:
    found = [measurement(task="hellaswag", metric=m) for m in ("acc", "acc_norm")]
    found += [measurement(task="lambada", metric=m) for m in ("perplexity", "acc")]
    shown = summary_rows(found)
    assert [(each.task, each.metric) for each in shown] == [("hellaswag", "acc"), ("lambada", "perplexity")]


def test_a_metric_asked_for_is_shown_wherever_it_is() -> None:
    found = [measurement(task="hellaswag", metric=m) for m in ("acc", "acc_norm")]
    found += [measurement(task="wikitext", metric="word_perplexity")]
    assert [(e.task, e.metric) for e in summary_rows(found, metrics=["acc*"])] == [
        ("hellaswag", "acc"),
        ("hellaswag", "acc_norm"),
    ]


def test_select_limits_by_series() -> None:
    found = [measurement(series=name) for name in ("a", "b")]
    assert [each.series for each in select(found, series=["b"])] == ["b"]


def test_a_misspelt_task_names_the_nearest() -> None:
    with pytest.raises(ResultsError, match="no task matches `hellaswga`") as error:
        select([measurement(task="hellaswag")], tasks=["hellaswga"])
    assert error.value.hint == "nearest: hellaswag"


def test_a_pattern_like_nothing_names_what_there_is() -> None:
    with pytest.raises(ResultsError) as error:
        select([measurement(metric="acc"), measurement(metric="f1")], metrics=["zzz"])
    assert error.value.hint == "there are: acc, f1"


def test_results_without_a_measurement_say_so() -> None:
    with pytest.raises(ResultsError, match="no measurement yet"):
        select([])
