"""Compare the choice metrics of every shape of multiple choice in lm_eval with plain loops."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milepost.analysis.choice_values import doc_metrics
from milepost.plan.encode import EncodedTask
from milepost.plan.offered_choices import choices_of, requests_of_choices
from milepost.tasks.lm_eval.loading import load_tasks
from milepost.tasks.lm_eval.metrics import compute_metrics
from milepost.tasks.lm_eval.requests import build_requests
from milepost.tasks.question_source import Responses, TaskRequests
from milepost.tasks.settings import TaskSettings
from milepost.types.choices import Choices
from milepost.types.sequences import Sequences
from tests.run.own_tasks import write_task

QUESTION = {"doc_to_text": "{{q}}", "doc_to_choice": "options", "doc_to_target": "label"}
SHAPES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "texts": (
        QUESTION,
        [{"q": f"q{i}", "options": ["é cat", "dog", "a longer bird"], "label": i % 3} for i in range(6)],
    ),
    "unequal numbers of choices": (
        QUESTION,
        [
            {"q": f"q{i}", "options": ["cat", "dog", "bird", "日本"][: 2 + i % 3], "label": 1}
            for i in range(6)
        ],
    ),
    "no delimiter": (
        {**QUESTION, "target_delimiter": ""},
        [{"q": f"q{i}", "options": [" cat", " dog"], "label": i % 2} for i in range(6)],
    ),
    "a long delimiter": (
        {**QUESTION, "target_delimiter": " => "},
        [{"q": f"q{i}", "options": ["cat", "mouse"], "label": i % 2} for i in range(6)],
    ),
    "contexts that differ before one shared ending (winogrande)": (
        {"doc_to_text": "label", "doc_to_choice": "options", "doc_to_target": "{{ending}}"},
        [
            {
                "options": [f"The man{' ' * i} Ian", "The man Dennis"],
                "label": i % 2,
                "ending": "eats wörms." * (1 + i % 3),
            }
            for i in range(6)
        ],
    ),
    "several right answers": (
        QUESTION,
        [{"q": f"q{i}", "options": ["a", "bb", "ccc", "dddd"], "label": [i % 2, 3]} for i in range(6)],
    ),
    "an empty choice": (
        QUESTION,
        [{"q": f"q{i}", "options": ["" if i else "x", "cat", "dog"], "label": i % 3} for i in range(6)],
    ),
    "a text as the target": (
        {**QUESTION, "doc_to_target": "{{answer}}"},
        [{"q": f"q{i}", "options": ["cat", "dog"], "answer": ["dog", "cat"][i % 2]} for i in range(6)],
    ),
    "unconditional scores beside (acc_mutual_info)": (
        {**QUESTION, "metric_list": [{"metric": "acc"}, {"metric": "acc_mutual_info"}]},
        [{"q": f"q{i}", "options": ["cat", "dog", "bird"], "label": i % 3} for i in range(6)],
    ),
}


def build(folder: Path, shape: str) -> tuple[Any, TaskRequests]:
    config, docs = SHAPES[shape]
    metrics = {"metric_list": [{"metric": name} for name in ("acc", "acc_norm", "acc_bytes")]}
    write_task(folder, "shape", docs, {"output_type": "multiple_choice", **metrics, **config})
    loaded = load_tasks(TaskSettings(names=("shape",), include_path=folder))
    (requests,) = build_requests(loaded)
    return loaded, requests


def offered_choices(requests: TaskRequests, doc_ids: np.ndarray) -> Choices:
    n = len(requests.requests)
    ones = np.ones(n, dtype=np.int32)
    sequences = Sequences(tokens=np.zeros(2 * n, np.int32), starts=np.arange(n + 1) * 2, n_targets=ones)
    encoded = EncodedTask(
        sequences=sequences, request_of=np.arange(n, dtype=np.int32), n_requests=n, n_truncated=0
    )
    assert requests.offers is not None
    return choices_of(requests.offers, encoded, doc_ids)


@pytest.mark.parametrize("shape", SHAPES)
def test_choice_metrics_equal_those_of_plain_loops(shape: str, tmp_path: Path) -> None:
    config, docs = SHAPES[shape]
    loaded, requests = build(tmp_path, shape)
    doc_ids = np.asarray([request.doc_id for request in requests.requests])
    scores = -np.random.default_rng(0).gamma(3, 3, len(doc_ids))
    choices = offered_choices(requests, doc_ids)
    found = doc_metrics(choices, scores[requests_of_choices(choices.doc_id, doc_ids)])
    delimiter = config.get("target_delimiter", " ")
    for number, doc in enumerate(docs):
        own = np.flatnonzero(doc_ids == number)[: len(doc["options"])]
        logs = scores[own]
        texts = [requests.requests[i].continuation.removeprefix(delimiter) for i in own]
        label = doc.get("label", doc["options"].index(doc["answer"]) if "answer" in doc else None)
        right = label if isinstance(label, list) else [label]
        bits = [-logs[i] / math.log(2) / len(texts[i].encode()) for i in right if texts[i]]
        expected = min(bits) if bits else math.nan
        assert found.bpb_right[number] == pytest.approx(expected, nan_ok=True)
        probs = np.exp(logs) / np.exp(logs).sum()
        assert found.prob_right[number] == pytest.approx(probs[right].sum())
        wrong = [i for i in range(len(logs)) if i not in right]
        assert found.margin[number] == pytest.approx(logs[right].max() - logs[wrong].max())
        assert found.entropy[number] == pytest.approx(-(probs * np.log2(probs)).sum())
    responses = Responses(
        kinds=[request.kind for request in requests.requests],
        doc_ids=doc_ids,
        loglikelihood=scores,
        greedy=np.zeros(len(doc_ids), dtype=bool),
        n_targets=np.ones(len(doc_ids), dtype=np.int64),
    )
    lm_eval = compute_metrics(loaded, {"shape": responses}).docs["shape"].metrics
    ours = {"acc": found.right, "acc_norm": found.right_norm, "acc_bytes": found.right_bytes}
    for metric in lm_eval.keys() & ours.keys():
        assert ours[metric].astype(float).tolist() == [float(value) for value in lm_eval[metric]], metric


def test_scored_bytes_are_those_of_the_shared_ending(tmp_path: Path) -> None:
    _, requests = build(tmp_path, "contexts that differ before one shared ending (winogrande)")
    choices = offered_choices(requests, np.asarray([request.doc_id for request in requests.requests]))
    assert choices.scored_bytes.tolist() == [12, 12, 24, 24, 36, 36] * 2
    assert choices.bytes.tolist()[:2] == [11, 14]  # lm_eval's acc_bytes divides by these
