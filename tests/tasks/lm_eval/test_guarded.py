"""A filter, metric or aggregation that raises costs the metrics it concerns; all others are computed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from milepost.run.missing_metrics import describe_missing, may_be_retried
from milepost.tasks.lm_eval.loading import load_tasks
from milepost.tasks.lm_eval.metrics import compute_metrics
from milepost.tasks.question_source import Evaluation, Responses
from milepost.tasks.settings import TaskSettings
from milepost.types.metrics import MissingMetric
from tests.run.own_tasks import write_task

DOCS: list[dict[str, Any]] = [
    {"question": f"q{i}", "options": [f"a{i}", "b", "c"][: 3 - i % 2], "answer": i % 2} for i in range(6)
]
CODE = """
def only_some_docs(doc, results):
    return {"acc": 1.0 / (doc["question"] != "q4"), "other": 0.5}
def nothing(doc, results):
    return None
def two(doc, results):
    return {"acc": 1.0, "other": "text" if doc["question"] == "q1" else 1.0}
def of_some(doc, results):
    return {"acc": 1.0} | ({"other": 0.5} if doc["answer"] else {})
"""
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "{{options}}",
    "doc_to_target": "answer",
}
LOGLIKELIHOOD = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{options[answer]}}",
    "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own_code.py").write_text(CODE)
    return tmp_path


def evaluate(
    folder: Path,
    tasks: dict[str, dict[str, Any]],
    loglikelihood: float = -1.0,
    names: tuple[str, ...] = (),
) -> Evaluation:
    """Figures of tasks of our own (or of what is named), each request answered alike."""
    responses = {}
    for name, config in tasks.items():
        path = write_task(folder, name, DOCS, config)
        path.write_text(re.sub(r"'(!function [\w.]+)'", r"\1", path.read_text()))
        n_requests = 1 if config["output_type"] != "multiple_choice" else None
        counts = [n_requests or len(doc["options"]) for doc in DOCS]
        doc_ids = np.repeat(np.arange(len(DOCS)), counts)
        responses[name] = Responses(
            kinds=["loglikelihood"] * len(doc_ids),
            doc_ids=doc_ids,
            loglikelihood=np.full(len(doc_ids), loglikelihood) - np.arange(len(doc_ids)) % 3,
            greedy=np.ones(len(doc_ids), dtype=bool),
            n_targets=np.ones(len(doc_ids), dtype=np.int64),
        )
    settings = TaskSettings(names=names or tuple(tasks), include_path=folder, allow_task_code=True)
    return compute_metrics(load_tasks(settings), responses)


def of(evaluation: Evaluation, task: str) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in evaluation.rows if row["task"] == task}


def with_code(function: str) -> dict[str, Any]:
    metrics = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "other")]
    return {**CHOICE, "process_results": f"!function own_code.{function}", "metric_list": metrics}


def test_a_perplexity_that_overflows_leaves_the_accuracy_beside_it(folder: Path) -> None:
    found = evaluate(folder, {"words": LOGLIKELIHOOD}, loglikelihood=-5000.0)
    rows = of(found, "words")
    assert rows["perplexity"]["value"] is None
    assert "too large for a number" in rows["perplexity"]["reason"]
    assert rows["acc"]["value"] == 1.0
    assert "no perplexity of words: too large" in str(describe_missing(found.missing, found.reasons))
    assert not may_be_retried(found.reasons)
    assert found.tables["results"]["words"]["perplexity,none"] is None


def test_brier_score_of_unequal_numbers_of_choices_leaves_the_accuracy(folder: Path) -> None:
    metrics = [{"metric": "acc"}, {"metric": "brier_score", "aggregation": "brier_score"}]
    rows = of(evaluate(folder, {"unequal": {**CHOICE, "metric_list": metrics}}), "unequal")
    assert rows["acc"]["value"] is not None
    assert rows["brier_score"]["value"] is None
    assert rows["brier_score"]["reason"]


def test_a_doc_whose_metric_raises_is_named_and_other_tasks_are_computed(folder: Path) -> None:
    found = evaluate(folder, {"raises": with_code("only_some_docs"), "words": LOGLIKELIHOOD})
    for row in of(found, "raises").values():
        assert row["value"] is None
        assert row["reason"] == "doc 4: ZeroDivisionError: float division by zero"
    assert found.missing == {"raises": 0}
    assert "raises" not in found.docs
    assert of(found, "words")["acc"]["value"] == 1.0
    assert may_be_retried(found.reasons)


def test_a_process_results_without_a_result_is_named(folder: Path) -> None:
    rows = of(evaluate(folder, {"empty": with_code("nothing")}), "empty")
    assert "returned NoneType instead of a dict" in rows["acc"]["reason"]


def test_an_aggregation_that_raises_leaves_the_other_metric(folder: Path) -> None:
    found = evaluate(folder, {"mixed": with_code("two")})
    rows = of(found, "mixed")
    assert rows["acc"]["value"] == 1.0
    assert rows["other"]["value"] is None
    assert "TypeError" in rows["other"]["reason"]
    assert len(found.docs["mixed"].doc_id) == len(DOCS)


def test_n_is_the_number_of_docs_with_the_metric(folder: Path) -> None:
    rows = of(evaluate(folder, {"some": with_code("of_some")}), "some")
    assert (rows["acc"]["n"], rows["other"]["n"]) == (6, 3)


def test_a_filter_that_raises_leaves_the_metrics_of_the_other_filter(folder: Path) -> None:
    pipelines = [
        {"name": "plain", "filter": [{"function": "take_first"}]},
        {"name": "bad", "filter": [{"function": "take_first_k", "k": 2}]},
    ]
    found = evaluate(folder, {"filtered": {**LOGLIKELIHOOD, "filter_list": pipelines}})
    values = {(row["metric"], row["filter"]): row["value"] for row in found.rows}
    assert values["acc", "plain"] == 1.0
    assert values["acc", "bad"] is None
    assert set(found.docs["filtered"].filter) == {"plain"}


def test_a_group_with_a_task_without_metrics_has_no_value_and_names_the_task(folder: Path) -> None:
    group = (
        "group: both\ntask: [raises, fine]\naggregate_metric_list: [{metric: acc, weight_by_size: true}]\n"
    )
    (folder / "both.yaml").write_text(group)
    found = evaluate(folder, {"raises": with_code("only_some_docs"), "fine": with_code("of_some")})
    assert of(found, "fine")["acc"]["value"] == 1.0
    settings = TaskSettings(names=("both",), include_path=folder, allow_task_code=True)
    doc_ids = np.repeat(np.arange(len(DOCS)), [len(doc["options"]) for doc in DOCS])
    answers = Responses(
        kinds=["loglikelihood"] * len(doc_ids),
        doc_ids=doc_ids,
        loglikelihood=-np.ones(len(doc_ids)),
        greedy=np.ones(len(doc_ids), dtype=bool),
        n_targets=np.ones(len(doc_ids), dtype=np.int64),
    )
    whole = compute_metrics(load_tasks(settings), {"raises": answers, "fine": answers})
    row = of(whole, "both")["acc"]
    assert row["value"] is None
    assert row["reason"].startswith("raises: doc 4: ZeroDivisionError")
    assert whole.tables["results"]["both"]["acc,none"] is None


def test_only_reasons_that_are_faults_are_shown() -> None:
    expected = MissingMetric("t", "m", "none", "no docs", "expected")
    assert describe_missing({}, [expected]) is None
    assert describe_missing({"t": 0}) is None
    many = [replace(expected, kind="raised", metric=f"m{i}") for i in range(5)]
    assert str(describe_missing({"u": 2}, many)).endswith("(and 3 more metrics)")


def test_a_group_whose_tasks_lack_its_metric_names_their_metrics(folder: Path) -> None:
    """Like lm_eval's mmlu_flan_cot_zeroshot, which aggregates `acc` of tasks that have `exact_match`."""
    aggregated = [{"metric": "f1"}, {"metric": "acc"}, {"metric": "acc", "filter_list": ["strict"]}]
    group = {"group": "both", "task": ["words"], "aggregate_metric_list": aggregated}
    (folder / "both.yaml").write_text(yaml.safe_dump(group))
    found = evaluate(folder, {"words": LOGLIKELIHOOD}, names=("both",))
    rows = {(row["metric"], row["filter"]): row for row in found.rows if row["task"] == "both"}
    assert rows["acc", "none"]["value"] == 1.0
    assert "reason" not in rows["acc", "none"]
    for lacking in (("f1", "none"), ("acc", "strict")):
        assert rows[lacking]["value"] is None
        assert rows[lacking]["reason"] == "none of its tasks has this metric; they have perplexity, acc"
    assert describe_missing(found.missing, found.reasons) is None
