"""Task objects are seeded and set up as by lm_eval's command."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from milepost.errors import MissingDataError, TaskError
from milepost.tasks.lm_eval.loading import load_tasks
from milepost.tasks.lm_eval.metrics import compute_metrics
from milepost.tasks.lm_eval.requests import build_requests
from milepost.tasks.question_source import Responses, TaskRequests
from milepost.tasks.settings import Seeds, TaskSettings
from tests.run.own_tasks import write_task, write_tasks

EMPTY = {"output_type": "multiple_choice", "doc_to_text": "{{a}}", "doc_to_choice": "{{b}}"}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_tasks(tmp_path / "own")


def requests_of(own: Path, *names: str, **given: Any) -> dict[str, TaskRequests]:
    loaded = load_tasks(TaskSettings(names=names, include_path=own, **given))
    return {requests.task: requests for requests in build_requests(loaded)}


def test_a_group_loads_its_members_and_a_tag_its_tasks(own: Path) -> None:
    assert list(requests_of(own, "farm")) == list(requests_of(own, "animals")) == ["where", "who"]
    loaded = load_tasks(TaskSettings(names=("farm",), include_path=own))
    assert loaded.parents_of("who") == ("farm",)
    assert loaded.parents_of("farm") == ()


def test_few_shot_examples_depend_on_the_seed(own: Path) -> None:
    def prompts(seed: int) -> list[str]:
        requests = requests_of(own, "where", num_fewshot=2, seeds=Seeds(fewshot=seed))["where"].requests
        return [request.context for request in requests]

    assert prompts(1) == prompts(1)
    assert prompts(1) != prompts(2)
    assert all(prompt.count("sat on the") == 3 for prompt in prompts(1))


def test_a_task_that_fixes_0_shot_keeps_it_and_warns(own: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = own / "where.yaml"
    path.write_text(path.read_text() + "num_fewshot: 0\n")
    with caplog.at_level(logging.WARNING, "milepost.tasks"):
        requests = requests_of(own, "where", num_fewshot=2)["where"].requests
    assert requests[0].context == "the cat sat on the"
    assert "always 0-shot" in caplog.text


def test_a_limit_is_a_count_or_a_share(own: Path) -> None:
    assert len(requests_of(own, "where", limit=3)["where"].docs) == 3
    assert len(requests_of(own, "where", limit=0.5)["where"].docs) == 4
    assert len(requests_of(own, "where", limit=100)["where"].docs) == 8


def test_samples_select_docs_of_one_task_and_leave_the_others_complete(own: Path) -> None:
    requests = requests_of(own, "farm", samples=(("where", (6, 1)),))
    assert [doc.doc_id for doc in requests["where"].docs] == [1, 6]
    assert len(requests["who"].docs) == 8
    assert [request.doc_id for request in requests["where"].requests] == [1] * 4 + [6] * 4


def test_a_system_instruction_begins_every_prompt(own: Path) -> None:
    requests = requests_of(own, "where", system_instruction="Be brief.")["where"].requests
    assert all(request.context.startswith("Be brief.") for request in requests)


@pytest.mark.parametrize("content", ["", "{", '{"animal": 1}\n[]\n'], ids=["empty", "cut", "mixed"])
def test_data_that_cannot_be_read_is_refused(own: Path, content: str) -> None:
    (own / "where.jsonl").write_text(content)
    with pytest.raises(TaskError, match="data cannot be read"):
        requests_of(own, "where")


def test_data_files_are_found_beside_or_above_the_task_file_from_every_folder(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lm_eval starts from the folder one is in; a folder of tasks and data can be moved nevertheless."""
    text = (own / "where.yaml").read_text()
    for name in ("where.jsonl", f"{own.name}/where.jsonl", "whe*.jsonl"):
        (own / "where.yaml").write_text(text.replace(str(own / "where.jsonl"), name))
        assert name in (own / "where.yaml").read_text()
        for folder in (tmp_path, own, Path("/")):
            monkeypatch.chdir(folder)
            assert len(requests_of(own, "where")["where"].docs) == 8
    (own / "where.yaml").write_text(text.replace(str(own / "where.jsonl"), "lost.jsonl"))
    with pytest.raises(TaskError, match=r"lost\.jsonl cannot be read"):
        requests_of(own, "where")


def test_a_group_weighs_its_members_by_their_docs(own: Path) -> None:
    import numpy as np

    loaded = load_tasks(TaskSettings(names=("farm",), include_path=own, samples=(("where", (0, 1)),)))
    responses = {}
    for requests in build_requests(loaded):
        places = [index == (0 if requests.task == "who" else 3) for _ in requests.docs for index in range(4)]
        responses[requests.task] = Responses(
            kinds=[request.kind for request in requests.requests],
            doc_ids=np.asarray([request.doc_id for request in requests.requests]),
            loglikelihood=np.where(places, -1.0, -2.0),
            greedy=np.asarray(places),
            n_targets=np.ones(len(places), np.int64),
        )
    rows = {(row["task"], row["metric"]): row for row in compute_metrics(loaded, responses).rows}
    assert rows["where", "acc"]["value"] == 0.0  # docs 0 and 1 have their answers at 0 and 1, not at 3
    assert rows["who", "acc"]["value"] == 0.25
    assert rows["farm", "acc"]["value"] == pytest.approx((2 * 0.0 + 8 * 0.25) / 10)
    assert rows["farm", "acc"]["n"] == 10
    assert rows["farm", "acc"]["chance"] == pytest.approx(0.25)


def test_a_task_without_data_is_named_and_can_be_left_out(
    own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_task(own, "lost", [], EMPTY)
    settings = TaskSettings(names=("where", "lost", "prose"), include_path=own)
    with pytest.raises(MissingDataError) as refusal:
        load_tasks(settings)
    assert refusal.value.task == "lost"
    with caplog.at_level("WARNING", logger="milepost.tasks"):
        loaded = load_tasks(replace(settings, skip_missing_data=True))
    assert list(loaded.tasks) == ["where", "prose"]
    assert "left out: lost (task lost: its data cannot be read" in caplog.text


def test_one_task_of_a_group_is_left_out_and_its_other_tasks_go_on(
    own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A mean over the others would look like the group's: it is not computed, and that is said."""
    write_task(own, "lost", [], EMPTY)
    (own / "all.yaml").write_text(
        "group: everything\ntask: [farm, fields]\naggregate_metric_list: [{metric: acc}]\n"
    )
    (own / "fields.yaml").write_text(
        "group: fields\ntask: [lost, prose]\naggregate_metric_list: [{metric: acc}]\n"
    )
    settings = TaskSettings(names=("everything",), include_path=own, skip_missing_data=True)
    with caplog.at_level("WARNING", logger="milepost.tasks"):
        loaded = load_tasks(settings)
    assert sorted(loaded.tasks) == ["prose", "where", "who"]
    assert list(loaded.groups) == ["farm"], "a group that lacks nothing keeps its mean"
    assert "left out: lost (task lost: its data cannot be read" in caplog.text
    assert "no mean without it: everything, fields" in caplog.text


def test_a_group_that_changes_its_members_is_left_out_as_a_whole(
    own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its members by themselves would be other tasks."""
    write_task(own, "lost", [], EMPTY)
    (own / "two.yaml").write_text("group: two\ntask: [{task: where, num_fewshot: 2}, lost]\n")
    with caplog.at_level("WARNING", logger="milepost.tasks"):
        loaded = load_tasks(TaskSettings(names=("two", "who"), include_path=own, skip_missing_data=True))
    assert list(loaded.tasks) == ["who"]
    assert "left out: two (task lost" in caplog.text


def test_where_no_task_has_data_nothing_is_left_to_score(own: Path) -> None:
    write_task(own, "lost", [], EMPTY)
    with pytest.raises(MissingDataError):
        load_tasks(TaskSettings(names=("lost",), include_path=own, skip_missing_data=True))
