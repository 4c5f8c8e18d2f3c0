"""Names are matched by pattern, and a wrong one gets the close ones."""

from __future__ import annotations

from milepost.text.name_matching import close_names, close_or_first, did_you_mean, matches

TASKS = ["arc_easy", "arc_challenge", "hellaswag", "mmlu[v2]"]


def test_a_pattern_or_the_name_itself_matches() -> None:
    assert matches("mmlu_anatomy", ["arc*", "mmlu_*"])
    assert matches("mmlu[v2]", ["mmlu[v2]"])
    assert not matches("mmlu", ["MMLU", "mmlu_*"])


def test_wildcards_do_not_count_when_close_names_are_looked_for() -> None:
    assert close_names("hellaswg*", TASKS) == ["hellaswag"]
    assert did_you_mean("arc_esy", TASKS) == "did you mean arc_easy?"


def test_without_a_close_name_the_first_few_are_listed() -> None:
    assert close_or_first("zzz", TASKS, first=2) == ["arc_easy", "arc_challenge"]
    assert did_you_mean("zzz", TASKS) is None
