"""Questions: the list, its filters and parts, and one question with what every checkpoint gave."""

from __future__ import annotations

import json
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from milepost.text.safe_text import printable
from milepost.web.pages import questions
from tests.cli.called import milepost
from tests.run.own_tasks import ANIMALS
from tests.web.conftest import client_of

BROWSER = {"accept": "text/html"}


def listed(client: TestClient, **query: object) -> dict[str, Any]:
    answer = client.get("/questions.json", params={name: str(value) for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_list_is_that_of_the_command(real: TestClient, real_results: Path) -> None:
    for kind in ("learned", "forgotten", "always-wrong", "always-right", "flips"):
        said = milepost("questions", real_results, f"--{kind}", "-n", 100, "--json").out
        expected = json.loads(said) if said.startswith("[") else []
        for doc in expected:  # a list is read without scores
            doc["checkpoints"] = [{**each, "loglikelihoods": []} for each in doc["checkpoints"]]
        found = listed(real, kind=kind)
        assert found["questions"] == expected
        assert found["total"] == len(expected)


def test_words_are_found_in_any_case_and_order(real: TestClient) -> None:
    found = listed(real, search=f"ROOF {ANIMALS[3]}", task="where")
    assert [doc["doc_id"] for doc in found["questions"]] == [3]
    assert listed(real, search="no such word")["total"] == 0
    assert listed(real, search="places")["total"] == 0  # the name of a field


def test_a_list_has_parts(real: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = listed(real, task="who")["questions"]
    monkeypatch.setattr(questions, "ON_A_PAGE", 3)
    parts = [listed(real, task="who", page=page, search="") for page in (1, 2, 3)]
    assert [doc for part in parts for doc in part["questions"]] == whole
    assert {part["pages"] for part in parts} == {3}
    html = real.get("/questions?task=who&page=2&kind=all", headers=BROWSER).text
    assert "page=3" in html
    assert "page=1" in html


def test_a_question_has_the_probabilities_of_its_choices(real: TestClient, real_results: Path) -> None:
    data = real.get("/question.json", params={"task": "where", "doc": 2}).json()
    said = milepost("questions", real_results, "--task", "where", "--doc-id", 2, "--json").out
    assert [data["question"]] == json.loads(said)
    of_steps = zip(data["question"]["checkpoints"], data["probabilities"], strict=True)
    for checkpoint, probabilities in of_steps:
        assert sum(probabilities) == pytest.approx(1)
        assert int(np.argmax(probabilities)) == checkpoint["pick"]
    html = real.get("/question?task=where&doc=2", headers=BROWSER).text
    assert f"the {ANIMALS[2]} sat on the" in html
    assert f"{data['probabilities'][-1][0]:.1%}" in html


@pytest.mark.parametrize(
    "query", ["task=nope", "task=farm", "doc=999", "series=nope", "task=../../etc/passwd", "task=prose"]
)
def test_a_question_that_is_not_there_is_a_404(real: TestClient, query: str) -> None:
    answer = real.get(f"/question.json?{query}")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("query", ["page=0", "page=x", "page=1e3", "kind=best", "page=-1"])
def test_a_query_that_cannot_be_understood_is_a_400(real: TestClient, query: str) -> None:
    answer = real.get(f"/questions.json?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]["message"]


def test_results_without_answers_say_so(dashboard: TestClient) -> None:
    assert listed(dashboard)["questions"] == []
    assert "no answer here is right or wrong" in dashboard.get("/questions", headers=BROWSER).text


def test_damaged_picks_and_docs_are_named_and_the_rest_is_shown(real_results: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(real_results, tmp_path / "copy")
    (picks, *_others) = sorted((copy / "store" / "picks").rglob("*.parquet"))
    picks.write_bytes(picks.read_bytes()[:-40])
    with client_of(copy) as client:
        found = listed(client, task="where")
        assert list(found["damaged"]) == [picks.relative_to(copy).as_posix()]
        assert len(found["questions"]) == len(ANIMALS)
        assert len(found["questions"][0]["checkpoints"]) == 2
        for path in (copy / "store" / "docs").rglob("*.parquet"):
            path.write_bytes(b"")
        emptied = listed(client, task="where", page=1)
        assert emptied["questions"] == []
        assert len(emptied["damaged"]) == 2


def test_texts_are_listed_as_the_command_lists_them(texts: TestClient, text_results: Path) -> None:
    for kind in ("always-wrong", "always-right", "flips"):
        said = milepost("questions", text_results, f"--{kind}", "-n", 100, "--json").out
        expected = json.loads(said) if said.startswith("[") else []
        for doc in expected:  # a list is read without the texts
            doc["checkpoints"] = [{**each, "text": "", "written": ""} for each in doc["checkpoints"]]
        assert listed(texts, kind=kind)["questions"] == expected
    assert listed(texts)["total"] == 2 * len(ANIMALS)


def test_a_question_has_the_text_that_each_checkpoint_wrote(texts: TestClient, text_results: Path) -> None:
    data = texts.get("/question.json", params={"task": "tell", "doc": 3}).json()
    said = milepost("questions", text_results, "--task", "tell", "--doc-id", 3, "--json").out
    assert [data["question"]] == json.loads(said)
    assert data["question"]["requests"] == [{"context": f"the {ANIMALS[3]} sat on the", "continuation": ""}]
    assert data["probabilities"] == [None] * 3
    written = [each["written"] for each in data["question"]["checkpoints"]]
    assert all(written)
    html = unescape(texts.get("/question?task=tell&doc=3", headers=BROWSER).text)
    assert f"the {ANIMALS[3]} sat on the" in html
    assert all(printable(text.strip()) in html for text in written)


def test_a_question_has_the_probability_of_a_continuation_through_training(
    texts: TestClient, text_results: Path
) -> None:
    data = texts.get("/question.json", params={"task": "next", "doc": 1}).json()
    assert data["question"]["requests"] == [
        {"context": f"the {ANIMALS[1]} sat on the", "continuation": " log"}
    ]
    probabilities = [own[0] for own in data["probabilities"]]
    assert len(probabilities) == 3
    assert all(0 < each < 1 for each in probabilities)
    for each, checkpoint in zip(probabilities, data["question"]["checkpoints"], strict=True):
        assert f"log-likelihood {np.log(each):.2f}" in checkpoint["text"]
    html = texts.get("/question?task=next&doc=1", headers=BROWSER).text
    assert "continuation that is scored" in html
    assert f"{probabilities[-1]:.4f}" in html


def test_a_checkpoint_whose_texts_are_damaged_is_named_and_the_rest_is_shown(
    text_results: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(text_results, tmp_path / "copy")
    first = sorted((copy / "store" / "doc_metrics").rglob("*.parquet"))[0]
    first.write_bytes(first.read_bytes()[:-40])
    with client_of(copy) as client:
        found = listed(client)
        assert list(found["damaged"]) == [first.relative_to(copy).as_posix()]
        assert sorted({len(doc["checkpoints"]) for doc in found["questions"]}) == [2, 3]
