"""A pattern of a user's task that would run for years costs its metric, not the run."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.filters.extraction import RegexFilter

from milepost.tasks.lm_eval import bounded_regexes
from milepost.tasks.lm_eval.loading import load_tasks
from milepost.tasks.lm_eval.metrics import compute_metrics
from milepost.tasks.question_source import Responses
from milepost.tasks.settings import TaskSettings
from tests.run.own_tasks import write_task

ENDLESS, TEXT = r"(.*?,){30}x", ",".join(map(str, range(60)))
OWN: Any = SimpleNamespace(is_own=True)
TEXTS = ["#### 12", "The answer is (B).", "-3.5, then 1,200", "", "äöü 中文 (C)", "a\nb\n#### 7"]


@pytest.fixture(autouse=True)
def _little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_regexes, "MOST_S", 0.05)


@pytest.mark.parametrize(
    "pattern",
    [
        r"#### (\-?[0-9\.\,]+)",
        r"(-?[$0-9.,]{2,})|(-?[0-9]+)",
        r"(?i)answer is \(?([a-d])\)?",
        r"\((.*?)\)",
        r"^.*$",
        r"\w+|\b",
    ],
)
def test_a_bounded_pattern_finds_what_re_finds(pattern: str) -> None:
    with bounded_regexes.bounded_regexes(OWN):
        bounded = RegexFilter(pattern)
        found = [bounded.regex.findall(text) for text in TEXTS]
        removed = exact_match_hf_evaluate(TEXTS, TEXTS, regexes_to_ignore=[pattern])
    assert found == [re.findall(pattern, text) for text in TEXTS]
    assert removed == exact_match_hf_evaluate(TEXTS, TEXTS, regexes_to_ignore=[pattern])
    assert isinstance(RegexFilter(pattern).regex, re.Pattern), "lm_eval has its own module again"


def test_an_endless_pattern_is_named() -> None:
    with bounded_regexes.bounded_regexes(OWN):
        with pytest.raises(TimeoutError, match=re.escape(repr(ENDLESS))):
            RegexFilter(ENDLESS).regex.findall(TEXT)
        with pytest.raises(TimeoutError, match=re.escape(repr(ENDLESS))):
            exact_match_hf_evaluate([TEXT], ["b"], regexes_to_ignore=[ENDLESS])


def test_tasks_of_lm_eval_keep_its_patterns() -> None:
    with bounded_regexes.bounded_regexes(SimpleNamespace()):
        assert isinstance(RegexFilter(ENDLESS).regex, re.Pattern)


def test_an_endless_pattern_costs_the_metrics_of_its_filter_and_no_other(tmp_path: Path) -> None:
    take_first = {"function": "take_first"}
    endless = {"name": "endless", "filter": [{"function": "regex", "regex_pattern": ENDLESS}, take_first]}
    config = {
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "filter_list": [endless, {"name": "plain", "filter": [take_first]}],
        "metric_list": [{"metric": "exact_match"}],
    }
    write_task(tmp_path, "texts", [{"question": "q", "answer": TEXT}] * 2, config)
    responses = Responses(
        kinds=["generate_until"] * 2,
        doc_ids=np.arange(2),
        loglikelihood=np.zeros(2),
        greedy=np.zeros(2, dtype=bool),
        n_targets=np.zeros(2, dtype=np.int64),
        generated=[[TEXT], [TEXT]],
    )
    found = compute_metrics(
        load_tasks(TaskSettings(names=("texts",), include_path=tmp_path)), {"texts": responses}
    )
    rows = {row["filter"]: row for row in found.rows}
    assert rows["plain"]["value"] == 1.0
    assert rows["endless"]["value"] is None
    assert "takes more than 0.05 s on a text" in rows["endless"]["reason"]
