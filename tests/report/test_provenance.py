"""How a score came about, in lines for people."""

from __future__ import annotations

from dataclasses import replace

from milepost.report.provenance import settings_facts, tasks_table
from milepost.store.index import NewestRun
from milepost.store.records import PlanRecord, RunRecord

RUN = RunRecord(
    plan_id="p",
    series=(),
    time=0.0,
    sources=("runs/a", "hf://org/b@step-*"),
    versions={"lm_eval": "0.4.13", "torch": "2.13"},
)
ASKED = {"names": ["piqa"], "limit": 60.0, "num_fewshot": None, "apply_chat_template": False}
TASKS = {"piqa": {"version": 1.0, "num_fewshot": 0, "dataset": ["baber/piqa", None]}}
PLAN = PlanRecord(plan_id="p", max_length=1024, settings={"asked": ASKED, "tasks": TASKS}, tasks=())


def tasks(newest: NewestRun | None) -> list[list[str]]:
    return [[cell.text for cell in row] for row in tasks_table(newest).rows]


def test_facts_are_named_for_people_and_unset_ones_left_out() -> None:
    assert dict(settings_facts(NewestRun(RUN, PLAN))) == {
        "measured": "1970-01-01 00:00 UTC",
        "checkpoints of": "runs/a, hf://org/b@step-*",
        "tasks asked for": "piqa",
        "docs per task": "60",
        "context, tokens": "1024",
        "versions": "lm_eval 0.4.13, torch 2.13",
        "plan": "p",
    }


def test_zero_examples_asked_for_is_a_fact() -> None:
    plan = replace(PLAN, settings={"asked": {"num_fewshot": 0}})
    assert ("examples in the prompt", "0") in settings_facts(NewestRun(RUN, plan))


def test_each_task_has_its_version_examples_and_data() -> None:
    assert tasks(NewestRun(RUN, PLAN)) == [["piqa", "1", "0", "baber/piqa"]]


def test_an_older_folder_without_settings_has_no_facts() -> None:
    assert settings_facts(None) == ()
    assert tasks(None) == []
    older = NewestRun(RunRecord(plan_id="p", series=()), PlanRecord(plan_id="p", settings={}, tasks=()))
    assert settings_facts(older) == (("plan", "p"),)
    assert tasks(older) == []


def test_long_values_are_cut_with_their_length() -> None:
    run = RunRecord(plan_id="p", series=(), sources=("x" * 1000,))
    _, value = settings_facts(NewestRun(run, PLAN))[0]
    assert value.endswith("… (1,000 characters)")
