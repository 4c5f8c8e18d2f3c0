"""Docs of two models are matched by hash; what cannot be compared is named with the reason."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from milepost.analysis.comparison import compare_models
from milepost.analysis.paired import Flips
from tests.analysis.answered import RIGHT, WORSE, group, grouped, model, only, right, task


def test_docs_are_matched_by_their_hash_whatever_their_order_and_number() -> None:
    docs = [f"doc-{i}" for i in range(200)]
    shuffled = np.random.default_rng(1).permutation(200)[:150]
    other = right("a", WORSE[shuffled], docs=[docs[i] for i in shuffled], version="2.0")
    found = compare_models(model(right("a", RIGHT, docs=docs)), model(other))
    one = only(found.tasks)
    assert one.docs == (150, 200, 150)
    assert one.flips == Flips(int((RIGHT & ~WORSE)[shuffled].sum()), 0)
    assert one.original == pytest.approx(RIGHT[shuffled].mean())
    assert "a: version 1.0 of the task against version 2.0" in found.notes
    assert "a: 150 docs in common of 200 and 150" in found.notes


def test_docs_that_occur_twice_are_matched_once_each() -> None:
    before = right("a", [True, False, True], docs=["x", "x", "y"])
    after = right("a", [True, True, True, True], docs=["y", "x", "x", "x"])
    one = only(compare_models(model(before), model(after)).tasks)
    assert (one.docs.common, one.flips) == (3, Flips(0, 1))


def test_a_task_without_a_common_doc_is_named_and_not_compared() -> None:
    found = compare_models(
        model(right("a", RIGHT), right("b", RIGHT)),
        model(right("a", RIGHT, docs=[str(i) for i in range(200)]), right("c", RIGHT)),
    )
    assert found.tasks == ()
    assert {(one.what, one.reason) for one in found.uncompared} == {
        ("a", "no doc in common (200 and 200 docs)"),
        ("b", "only the original was evaluated on it"),
        ("c", "only the other was evaluated on it"),
    }


def test_a_metric_that_is_not_a_mean_over_docs_is_not_tested() -> None:
    odd = task("cola", metric="mcc", values=[0.0, 1.0, 1.0], stored=0.123)
    found = compare_models(model(odd), model(odd))
    assert found.tasks == ()
    assert found.uncompared[0].what == "cola mcc"


def test_a_task_without_metrics_is_not_compared() -> None:
    lacking = right("a", RIGHT)
    lacking = dataclasses.replace(
        lacking, values={}, measurements=(dataclasses.replace(lacking.measurements[0], value=None),)
    )
    assert compare_models(model(right("a", RIGHT)), model(lacking)).uncompared == (
        ("a acc", "one of the models does not have this metric"),
    )


def test_a_group_with_a_task_missing_is_not_compared_as_a_whole() -> None:
    tasks = [right("easy", RIGHT[:150], parents=("exam",))]
    partly = model(*tasks, groups=[group("exam", tasks)])
    found = compare_models(grouped(RIGHT, by_size=True), partly)
    assert ("exam acc", "only 1 of its 2 tasks could be compared") in found.uncompared
    assert [one.task for one in found.subjects] == ["easy"]


def test_a_group_is_compared_over_the_docs_of_its_own_metric() -> None:
    """One of its tasks was asked anew, alone and with fewer docs."""
    before, after = grouped(RIGHT, by_size=True), grouped(WORSE, by_size=True)
    fewer = right("hard", WORSE[150:160])
    rerun = dataclasses.replace(after, tasks={**after.tasks, "hard": fewer})
    found = compare_models(before, rerun)
    assert only(found.tasks).docs.common == 200
    assert only(found.tasks).other == pytest.approx(WORSE.mean())
    assert {one.task: one.docs.common for one in found.subjects} == {"easy": 150, "hard": 10}
