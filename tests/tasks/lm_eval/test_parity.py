"""Requests, hashes and metrics equal those of lm_eval on real data; the model is a hash of its input."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest
from lm_eval.api.model import LM

from milepost.tasks.lm_eval.catalog import load_catalog
from milepost.tasks.lm_eval.loading import LoadedTasks, load_tasks, task_manager
from milepost.tasks.lm_eval.metrics import compute_metrics
from milepost.tasks.lm_eval.requests import build_requests
from milepost.tasks.lm_eval.shortcuts import compiled_yaml
from milepost.tasks.question_source import Evaluation, Responses, TaskRequests
from milepost.tasks.settings import TaskSettings
from milepost.types.requests import Request
from tests.lm_eval_runs import simple_evaluate

TASKS = (
    "mmlu_humanities",
    "arc_easy",
    "arc_challenge",
    "hellaswag",
    "piqa",
    "winogrande",
    "openbookqa",
    "boolq",
    "rte",
    "lambada_openai",
    "wikitext",
)
FEWSHOT_TASKS = ("mmlu_formal_logic", "arc_easy", "hellaswag", "winogrande", "boolq", "lambada_openai")
LIMIT = 4


def answer(context: str, continuation: str) -> tuple[float, bool]:
    digest = hashlib.sha256(f"{context}\0{continuation}".encode()).digest()
    return -10 * digest[0] / 256 - digest[1] / 1e4, digest[2] % 3 == 0


class HashModel(LM):
    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        return [answer(*request.args) for request in requests]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        return [answer("", request.args[0])[0] * len(request.args[0]) for request in requests]

    def generate_until(self, requests: list[Any]) -> list[str]:
        raise AssertionError("nothing is generated here")


def our_answers(requests: list[Request]) -> Responses:
    pairs = []
    for request in requests:
        if request.kind == "loglikelihood_rolling":
            pairs.append((answer("", request.continuation)[0] * len(request.continuation), False))
        else:
            pairs.append(answer(request.context, request.continuation))
    return Responses(
        kinds=[request.kind for request in requests],
        doc_ids=np.asarray([request.doc_id for request in requests]),
        loglikelihood=np.asarray([ll for ll, _ in pairs]),
        greedy=np.asarray([greedy for _, greedy in pairs]),
        n_targets=np.ones(len(pairs), np.int64),
    )


class Both:
    """One evaluation by lm_eval and by us."""

    def __init__(self, settings: TaskSettings) -> None:
        manager = task_manager(load_catalog(settings.include_path))
        with compiled_yaml():  # datasets' cards in a tenth of the time; nothing that lm_eval itself does
            self.theirs: dict[str, Any] = simple_evaluate(
                model=HashModel(),
                tasks=list(settings.names),
                num_fewshot=settings.num_fewshot,
                limit=settings.limit,
                samples={name: list(ids) for name, ids in settings.samples} if settings.samples else None,
                task_manager=manager,
                bootstrap_iters=0,
                log_samples=True,
            )
        self.loaded: LoadedTasks = load_tasks(settings)
        self.requests: dict[str, TaskRequests] = {a.task: a for a in build_requests(self.loaded)}
        answers = {name: our_answers(task.requests) for name, task in self.requests.items()}
        self.ours: Evaluation = compute_metrics(self.loaded, answers)


@pytest.fixture(scope="module", params=[0, 3], ids=["0-shot", "3-shot"])
def both(hub: str, request: pytest.FixtureRequest) -> Both:
    names = TASKS if request.param == 0 else FEWSHOT_TASKS
    return Both(TaskSettings(names=names, num_fewshot=request.param, limit=LIMIT))


def test_prompts_docs_and_hashes_are_those_of_lm_eval(both: Both) -> None:
    for name, samples in both.theirs["samples"].items():
        docs = {doc.doc_id: doc for doc in both.requests[name].docs}
        for sample in samples:
            doc = docs[sample["doc_id"]]
            for key in ("doc_hash", "prompt_hash", "target_hash"):
                assert getattr(doc, key) == sample[key], (name, sample["doc_id"], key)


def test_metrics_of_tasks_and_groups_are_those_of_lm_eval(both: Both) -> None:
    rows = {(row["task"], row["metric"], row["filter"]): row for row in both.ours.rows}
    compared = 0
    for name, metrics in {**both.theirs["results"], **both.theirs.get("groups", {})}.items():
        for key, value in metrics.items():
            metric, comma, pipeline = key.rpartition(",")
            if comma and not metric.endswith("_stderr"):
                assert rows[name, metric, pipeline]["value"] == pytest.approx(value, rel=1e-12), (name, key)
                compared += 1
    assert compared == len(rows)


def test_per_doc_metrics_are_those_of_lm_eval(both: Both) -> None:
    for name, samples in both.theirs["samples"].items():
        docs = both.ours.docs[name]
        assert docs.doc_id == [sample["doc_id"] for sample in samples]
        for metric, values in docs.metrics.items():
            assert values == [sample[metric] for sample in samples]


def test_result_tables_have_the_keys_of_lm_eval(both: Both) -> None:
    for key in ("configs", "versions", "n-shot", "higher_is_better", "n-samples", "group_subtasks"):
        assert both.ours.tables[key].keys() == both.theirs[key].keys()


def test_chance_is_the_accuracy_of_a_uniform_guess(both: Both) -> None:
    chance = {(row["task"], row["metric"]): row["chance"] for row in both.ours.rows}
    assert chance["hellaswag", "acc"] == pytest.approx(0.25)
    assert chance["winogrande", "acc"] == pytest.approx(0.5)
    assert chance["mmlu_formal_logic", "acc"] == pytest.approx(0.25)
    assert chance.get(("mmlu_humanities", "acc"), 0.25) == pytest.approx(0.25)
    assert chance["lambada_openai", "perplexity"] is None


def test_samples_name_docs_by_their_position_in_the_split(hub: str) -> None:
    both = Both(TaskSettings(names=("arc_easy",), num_fewshot=0, samples=(("arc_easy", (2, 5, 9)),)))
    theirs = both.theirs["samples"]["arc_easy"]
    assert [doc.doc_id for doc in both.requests["arc_easy"].docs] == [2, 5, 9]
    assert [doc.doc_hash for doc in both.requests["arc_easy"].docs] == [
        sample["doc_hash"] for sample in theirs
    ]
    assert both.ours.docs["arc_easy"].doc_id == [2, 5, 9]


def test_a_task_with_an_unanswered_request_has_no_metrics(hub: str) -> None:
    loaded = load_tasks(TaskSettings(names=("arc_easy", "piqa"), limit=4))
    answers = {task.task: our_answers(task.requests) for task in build_requests(loaded)}
    answers["piqa"].loglikelihood[3] = math.nan
    evaluation = compute_metrics(loaded, answers)
    assert evaluation.missing == {"piqa": 1}
    values = {row["task"]: row["value"] for row in evaluation.rows}
    assert values["piqa"] is None
    assert values["arc_easy"] is not None
