"""How a score came about, in lines for people."""

from __future__ import annotations

from milepost.report.provenance import asked_tasks, facts

SETTINGS = {
    "time": 0.0,
    "sources": ["runs/a", "hf://org/b@step-*"],
    "versions": {"lm_eval": "0.4.13", "torch": "2.13"},
    "plan": {
        "max_length": 1024,
        "settings": {
            "asked": {"names": ["piqa"], "limit": 60.0, "num_fewshot": None, "apply_chat_template": False},
            "tasks": {"piqa": {"version": 1.0, "num_fewshot": 0, "dataset": ["baber/piqa", None]}},
        },
    },
}


def test_facts_are_named_for_people_and_unset_ones_left_out() -> None:
    assert dict(facts(SETTINGS)) == {
        "measured": "1970-01-01 00:00 UTC",
        "checkpoints of": "runs/a, hf://org/b@step-*",
        "tasks asked for": "piqa",
        "docs per task": "60",
        "context, tokens": "1024",
        "versions": "lm_eval 0.4.13, torch 2.13",
    }


def test_zero_examples_asked_for_is_a_fact() -> None:
    assert ("examples in the prompt", "0") in facts({"plan": {"settings": {"asked": {"num_fewshot": 0}}}})


def test_each_task_has_its_version_examples_and_data() -> None:
    assert asked_tasks(SETTINGS) == [("piqa", "1", "0", "baber/piqa")]


def test_an_older_folder_without_settings_has_no_facts() -> None:
    assert facts({}) == []
    assert asked_tasks({"plan": None}) == []


def test_long_values_are_cut_with_their_length() -> None:
    (fact,) = facts({"sources": ["x" * 1000]})
    assert fact.value.endswith("… (1,000 characters)")
