"""Suites name tasks of lm_eval, cite their sources and set few-shot examples per task."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from milepost.errors import TaskError
from milepost.tasks.lm_eval.catalog import load_catalog
from milepost.tasks.lm_eval.loading import load_tasks
from milepost.tasks.settings import TaskSettings
from milepost.tasks.suites import FOLDER, load_suite, suite_names
from tests.run.own_tasks import write_tasks


def test_four_suites_exist() -> None:
    assert suite_names() == ["early", "helm-lite", "pruning", "smollm2"]


@pytest.mark.parametrize("name", suite_names())
def test_every_task_is_known_to_lm_eval(name: str) -> None:
    catalog = load_catalog()
    suite = load_suite(name)
    assert suite.name == name
    assert suite.sources
    assert [task for task in suite.tasks if task not in catalog] == []
    assert len(set(suite.tasks)) == len(suite.tasks)


@pytest.mark.parametrize("name", suite_names())
def test_groups_of_a_suite_set_zero_examples(name: str) -> None:
    """Members of a group keep their own number, which is 0 for the groups of these suites."""
    catalog = load_catalog()
    groups = {task: n for task, n in load_suite(name).shots if catalog[task].kind != "TASK"}
    assert set(groups.values()) <= {0}


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_file_has_only_known_keys(name: str) -> None:
    written = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert set(written) <= {"name", "about", "sources", "choice", "left_out", "tasks", "helm"}
    assert all(set(entry) <= {"task", "num_fewshot"} for entry in written["tasks"])


def test_numbers_of_examples_equal_those_of_the_cited_sources() -> None:
    smollm2, helm = (dict(load_suite(name).shots) for name in ("smollm2", "helm-lite"))
    assert {task for task, n in smollm2.items() if n != 0} == {"gsm8k"}
    assert smollm2["gsm8k"] == 5
    assert (
        set(dict(load_suite("early").shots).values())
        == set(dict(load_suite("pruning").shots).values())
        == {0}
    )
    assert {n for task, n in helm.items() if task != "wmt14-fr-en"} == {5}
    assert helm["wmt14-fr-en"] == 1


def test_an_unknown_suite_is_refused_with_the_known_names() -> None:
    with pytest.raises(TaskError, match="no suite 'earli'") as raised:
        load_suite("earli")
    assert raised.value.hint == "one of early, helm-lite, pruning, smollm2"


@pytest.mark.parametrize(
    ("num_fewshot", "expected"), [(None, {"where": 3, "who": 0}), (1, {"where": 1, "who": 1})]
)
def test_a_suite_sets_examples_per_task_and_num_fewshot_for_all(
    tmp_path: Path, num_fewshot: int | None, expected: dict[str, int]
) -> None:
    settings = TaskSettings(
        names=("where", "who"),
        shots=(("where", 3),),
        num_fewshot=num_fewshot,
        include_path=write_tasks(tmp_path),
    )
    loaded = load_tasks(settings)
    assert {name: task.get_config("num_fewshot") for name, task in loaded.tasks.items()} == expected
