"""Every record's name has everything that the record depends on, by the table in docs/store.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milepost.plan.encode import EncodedTask
from milepost.plan.plan import Plan, TaskPlan
from milepost.run.target import Target
from milepost.store import ResultsFolder
from milepost.store.layout import RECORD_KINDS
from milepost.types.choices import Offer
from milepost.types.generation import Generation
from milepost.types.requests import Request
from milepost.types.sequences import Sequences

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = ResultsFolder(Path("results"))

ASKED: dict[str, Any] = {
    "weights": "m1",
    "numerics": "float32",
    "tokens": 7,
    "docs": "hash of a doc",
    "prompts": "a prompt",
    "choices": "a choice",
    "generation": 16,
    "counting": "take_first",
    "lm_eval": "0.4.9",
    "groups": {"farm": {"weight_by_size": True}},
    "configs": "alias one",
    "tokenizer": "0123456789abcdef",
}
"""Everything that a record can depend on, and what it is before it changes."""

CHANGED: dict[str, Any] = {
    "tokens": 8,
    "generation": 17,
    "groups": {"farm": {"weight_by_size": False}},
}


def target(asked: dict[str, Any]) -> Target:
    """One doc whose two choices are scored, and one that asks for a text."""
    sequences = Sequences(
        tokens=np.asarray([1, 2, asked["tokens"], 1, 2, 4, 1, 2, asked["tokens"]], dtype=np.int32),
        starts=np.asarray([0, 3, 6, 9]),
        n_targets=np.asarray([1, 1, 0], dtype=np.int32),
    )
    encoded = EncodedTask(
        sequences=sequences, request_of=np.arange(3, dtype=np.int32), n_requests=3, n_truncated=0
    )
    text = Generation(until=("\n",), max_new_tokens=asked["generation"])
    requests = [
        Request("loglikelihood", 0, 0, asked["prompts"], " a"),
        Request("loglikelihood", 0, 1, asked["prompts"], " b"),
        Request("generate_until", 1, 0, "c", "", generation=text),
    ]
    docs = {
        "doc_id": [0, 1],
        "doc_hash": [asked["docs"], "other"],
        "target_hash": ["t", "u"],
        "arguments": [asked["prompts"], "c"],
    }
    offers = [Offer(0, (asked["choices"], "b"), (0,))]
    task = TaskPlan.build("task", requests, docs, encoded, 1, offers, asked["tokenizer"])
    settings = {
        "counting": {"tasks": {"task": asked["counting"]}, "groups": asked["groups"]},
        "configs": asked["configs"],
        "versions": {"lm_eval": asked["lm_eval"]},
    }
    plan = Plan(tasks=(task,), tokenizer_id=asked["tokenizer"], max_length=8, settings=settings)
    return Target(RESULTS, plan, asked["weights"], asked["numerics"])


NAMES: dict[str, Callable[[Target], Path]] = {
    "scores": lambda one: one.score_path(one.plan.tasks[0].shards[0]),
    "scores of texts": lambda one: one.score_path(one.plan.tasks[0].shards[1]),
    "docs": lambda one: RESULTS.docs_path(one.plan.tasks[0].docs_id),
    "choices": lambda one: RESULTS.choices_path(one.plan.tasks[0].docs_id),
    "doc_metrics": lambda one: one.doc_metrics_path(one.plan.tasks[0]),
    "metrics": lambda one: one.metrics_path,
    "picks": lambda one: one.picks_path,
    "plans": lambda one: RESULTS.plan_path(one.plan.plan_id),
    "sparsity": lambda one: RESULTS.sparsity_path(one.score_path(one.plan.tasks[0].shards[0]).parts[-3]),
    "quick": lambda one: RESULTS.plan_path(one.plan.plan_id),
}


def table() -> dict[str, list[str]]:
    """Kind of record to what docs/store.md says that it depends on."""
    text = (REPOSITORY / "docs" / "store.md").read_text("utf-8")
    rows = re.search(r"\| record \| depends on \|.*\n\|[-|]+\n((?:\|.*\n)+)", text)
    assert rows is not None
    cells = [[cell.strip() for cell in row.split("|")[1:3]] for row in rows[1].splitlines()]
    return {kind.replace("`", ""): [one for one in on.split(", ") if one] for kind, on in cells}


def test_the_table_has_every_kind_of_record() -> None:
    assert {kind.split()[0] for kind in table()} == set(RECORD_KINDS)
    assert {kind for kind, on in table().items() if on} == set(NAMES)


@pytest.mark.parametrize(("kind", "on"), [(kind, one) for kind, on in table().items() for one in on])
def test_what_a_record_depends_on_changes_its_name(kind: str, on: str) -> None:
    before, after = target(ASKED), target({**ASKED, on: CHANGED.get(on, f"changed {ASKED[on]}")})
    assert NAMES[kind](before) != NAMES[kind](after)


def test_a_log_likelihood_does_not_depend_on_how_tokens_are_spelled() -> None:
    before, after = target(ASKED), target({**ASKED, "tokenizer": "another"})
    assert NAMES["scores"](before) == NAMES["scores"](after)
    assert NAMES["doc_metrics"](before) == NAMES["doc_metrics"](after)


def test_figures_of_a_task_are_joined_whatever_the_prompts_spelling_and_versions() -> None:
    """`task_id` is what tables join by: it must not change with what is the same to the model."""
    for on in ("prompts", "choices", "lm_eval", "configs", "tokenizer", "counting"):
        changed = target({**ASKED, on: f"{ASKED[on]} changed"})
        assert changed.plan.tasks[0].task_id == target(ASKED).plan.tasks[0].task_id
