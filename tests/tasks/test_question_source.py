"""A source of questions is a folder of `tasks`: no other room has to know it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import milepost
from milepost.errors import MilepostError
from milepost.tasks import registry
from milepost.tasks.question_source import (
    Description,
    DocMetrics,
    DocRecord,
    Evaluation,
    ModelTraits,
    PlannedDocs,
    QuestionSet,
    QuestionSource,
    Responses,
    TaskRequests,
)
from milepost.tasks.settings import TaskSettings
from milepost.types.metrics import Estimate, MissingMetric
from milepost.types.picks import PickCounts
from milepost.types.requests import Request
from tests.cli.called import milepost as call
from tests.run.own_tasks import write_task, write_tasks

WORDS = ("mat", "door", "tower")


class WordTasks:
    """One task, `words`: the log-likelihood of a few words."""

    def requests(self) -> Iterator[TaskRequests]:
        requests = [Request("loglikelihood", i, 0, "the", f" {word}") for i, word in enumerate(WORDS)]
        docs = [DocRecord(i, f'"{word}"', word, "[]", word, "the", word) for i, word in enumerate(WORDS)]
        yield TaskRequests("words", requests, docs)

    def describe(self) -> Description:
        task = {"source": "words", "alias": "words", "output_type": "loglikelihood", "version": 1}
        more = {"num_fewshot": 0, "dataset": [None, None], "parents": []}
        return Description(
            counting={"tasks": {"words": task}, "groups": {}}, configs="1", tasks={"words": task | more}
        )

    def digest(self) -> str:
        return "1"

    def data_used(self) -> list[dict[str, Any]] | None:
        return []

    def compute_metrics(
        self, responses: Mapping[str, Responses], planned: Mapping[str, PlannedDocs]
    ) -> Evaluation:
        assert list(responses) == list(planned) == ["words"]
        assert planned["words"].columns()["target"] == list(WORDS)
        values = responses["words"].loglikelihood.tolist()
        row = {
            "task": "words",
            "metric": "nats",
            "filter": "none",
            "value": sum(values),
            "stderr": None,
            "n": len(values),
            "chance": None,
            "higher_is_better": True,
            "kind": "task",
            "alias": "words",
            "parents": [],
            "num_fewshot": 0,
        }
        docs = DocMetrics([0, 1, 2], ["none"] * 3, {"nats": values}, ["null"] * 3, {})
        return Evaluation([row], {"words": docs}, {}, {}, [])

    def group_metrics(
        self, metrics: Mapping[str, Mapping[str, Estimate]], sizes: Mapping[str, int]
    ) -> dict[str, dict[str, Estimate]]:
        return {}

    def group_picks(self, picks: Mapping[str, PickCounts]) -> dict[str, PickCounts]:
        return {}

    def needs_main_thread(self) -> bool:
        return False

    def find_difference(
        self, counting: Mapping[str, Any], doc_hashes: Mapping[str, Callable[[], list[str]]]
    ) -> str | None:
        assert list(counting["tasks"]) == ["words"]
        return None


class Words:
    name = "words"

    def is_used(self, settings: TaskSettings) -> bool:
        return True

    def check(self, settings: TaskSettings) -> str:
        return "1"

    def load(self, settings: TaskSettings, models: ModelTraits) -> QuestionSet:
        return WordTasks()

    def user_tasks(self, names: Any) -> list[str]:
        return []

    def data_state(self, ref: dict[str, Any]) -> str | None:
        return None


@pytest.fixture
def words_source(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("words_source")
    source: QuestionSource = Words()
    module.SOURCE = source
    monkeypatch.setitem(sys.modules, "words_source", module)
    monkeypatch.setitem(registry.SOURCES, "words", "words_source")


def test_tasks_of_a_new_source_run_beside_those_of_lm_eval(
    words_source: None, tiny_run: Path, tmp_path: Path
) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    output = tmp_path / "out"
    results = milepost.evaluate(tiny_run, "prose", include_path=tasks, output_path=output, log_samples=True)
    assert {row.task for row in results.rows()} == {"prose", "words"}
    rows = [row for row in results.rows() if row.task == "words"]
    assert [(row.metric, row.n) for row in rows] == [("nats", 3)] * 3
    assert all(row.value is not None and row.value < 0 for row in rows)
    again = milepost.evaluate(tiny_run, "prose", include_path=tasks, output_path=output)
    assert again.scored == ()
    shown = call("show", output)
    assert (shown.status, "words" in shown.out) == (0, True)


def test_two_sources_with_one_task_name_are_refused(
    words_source: None, tiny_run: Path, tmp_path: Path
) -> None:
    docs = [{"text": "the", "places": ["mat", "door"]}]
    config = {"output_type": "multiple_choice", "doc_to_choice": "{{places}}", "doc_to_target": 0}
    write_task(tmp_path / "tasks", "words", docs, config | {"doc_to_text": "{{text}}"})
    with pytest.raises(MilepostError, match="two question sources have a task named 'words'"):
        milepost.evaluate(tiny_run, "words", include_path=tmp_path / "tasks", output_path=tmp_path / "out")
    assert not (tmp_path / "out" / "store").exists()


def test_metrics_of_a_new_source_are_computed_later(
    words_source: None, tiny_run: Path, tmp_path: Path
) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    milepost.evaluate(tiny_run, "prose", include_path=tasks, output_path=tmp_path / "out", scores_only=True)
    assert call("metrics", tmp_path / "out", "--include-path", tasks).status == 0
    assert {row.task for row in milepost.open_results(tmp_path / "out").rows()} == {"prose", "words"}


def test_the_sources_of_settings_are_those_with_a_task() -> None:
    assert "lm_eval" in [source.name for source in registry.used_sources(TaskSettings(names=("arc_easy",)))]


def test_a_task_without_a_source_in_its_description_is_lm_evals() -> None:
    assert registry.source_of({"alias": "arc"}) == "lm_eval"
    assert registry.source_of({"source": "words"}) == "words"


def test_evaluations_of_several_sources_are_joined() -> None:
    missing = MissingMetric("b", "acc", "none", "ValueError")
    a = Evaluation([{"task": "a"}], {}, {"results": {}}, {}, [])
    b = Evaluation([{"task": "b"}], {}, {}, {"c": 2}, [missing])
    joined = Evaluation.join([a, b])
    assert [row["task"] for row in joined.rows] == ["a", "b"]
    assert (joined.tables, joined.missing, joined.reasons) == ({"results": {}}, {"c": 2}, [missing])


def test_requests_without_a_number_or_a_text_are_counted_as_unanswered() -> None:
    def responses(kinds: list[str], logs: list[float], generated: Any = None) -> Responses:
        n = len(kinds)
        zeros = np.zeros(n, dtype=np.int64)
        return Responses(kinds, zeros, np.asarray(logs), np.zeros(n, dtype=bool), zeros, generated)

    assert responses(["loglikelihood"] * 3, [-1.0, float("nan"), float("nan")]).n_unanswered() == 2
    mixed = ["generate_until", "generate_until", "loglikelihood"]
    nan = float("nan")
    assert responses(mixed, [nan, nan, nan], [["text"], None, None]).n_unanswered() == 2
