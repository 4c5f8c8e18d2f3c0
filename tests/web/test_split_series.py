"""A training run whose tasks lie in two results folders is one series, on every page and in `leaderboard`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import milepost
from milepost.store import ResultsFolder
from milepost.store.atomic_files import read_json, write_json
from milepost.store.united_index import open_folders
from milepost.web.pages import PAGES
from tests.cli import called
from tests.web.conftest import client_of

BROWSER = {"accept": "text/html"}


@pytest.fixture(scope="module")
def split(real_results: Path, text_results: Path) -> Iterator[TestClient]:
    """A dashboard of one training run: `farm` and `prose` in one folder, `tell` and `next` in the other."""
    with client_of(real_results, text_results) as client:
        yield client


def shown(*folders: Path) -> list[dict[str, Any]]:
    rows = [json.loads(called.milepost("show", folder, "--json").out) for folder in folders]
    return [row for own in rows for row in own]


def keys(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def test_its_rows_are_those_of_both_folders(
    split: TestClient, real_results: Path, text_results: Path
) -> None:
    rows = split.get("/overview.json").json()["rows"]
    assert set(keys(rows)) <= set(keys(shown(real_results, text_results)))
    assert len(keys(rows)) == len(set(keys(rows)))
    assert {row["task"] for row in rows} == {"farm", "prose", "tell", "next"}
    assert {row["series"] for row in rows} == {"tiny-run"}
    curves = split.get("/curves.json").json()["rows"]
    assert {row["task"] for row in curves} == {"farm", "prose", "tell", "next"}


@pytest.mark.parametrize("name", [page.name for page in PAGES])
def test_every_page_shows_it_as_one(split: TestClient, name: str) -> None:
    answer = split.get(f"/{name}", headers=BROWSER)
    assert answer.status_code == 200
    assert ":tiny-run" not in answer.text


def test_its_progress_counts_each_checkpoint_once(split: TestClient) -> None:
    progress = split.get("/progress.json").json()
    assert progress["checkpoints_done"] == 3
    states = split.get("/runs.json").json()["checkpoints"]
    assert [state["checkpoint"] for state in states] == ["checkpoint-10", "checkpoint-20", "checkpoint-30"]
    page = split.get("/runs", params={"checkpoint": "tiny-run/checkpoint-20"}, headers=BROWSER).text
    assert "The end of its log" in page


def test_a_checkpoint_has_the_time_of_both_folders(real_results: Path, text_results: Path) -> None:
    indexes = [open_folders([real_results]), open_folders([text_results])]
    own = [index.visit("tiny-run", "checkpoint-20") for index in indexes]
    united = open_folders([real_results, text_results]).visit("tiny-run", "checkpoint-20")
    assert united is not None
    assert united.scoring_s == pytest.approx(sum(visit.scoring_s or 0 for visit in own if visit))
    assert united.failure is None


def test_a_checkpoint_has_the_logs_of_both_folders(split: TestClient) -> None:
    page = split.get("/runs", params={"checkpoint": "tiny-run/checkpoint-20"}, headers=BROWSER).text
    assert page.partition("The end of its log")[2].count("metrics computed in") == 2


def test_a_failure_in_one_folder_is_told(real_results: Path, text_results: Path, tmp_path: Path) -> None:
    failed = Path(shutil.copytree(text_results, tmp_path / "failed"))
    path = ResultsFolder(failed).checkpoint_path("tiny-run", "checkpoint-30")
    write_json(path, read_json(path) | {"model_id": None, "failure": "no memory"})
    with client_of(real_results, failed) as client:
        states = client.get("/runs.json").json()["checkpoints"]
    assert {state["checkpoint"]: state["failure"] for state in states} == {
        "checkpoint-10": None,
        "checkpoint-20": None,
        "checkpoint-30": "no memory",
    }


def test_questions_are_read_from_the_folder_of_their_task(split: TestClient) -> None:
    for task in ("farm", "tell"):
        found = split.get("/questions.json", params={"task": task}).json()
        assert found["total"] > 0
        assert {doc["series"] for doc in found["questions"]} == {"tiny-run"}


def test_two_checkpoints_are_compared_over_the_tasks_of_both_folders(split: TestClient) -> None:
    asked = {"a": "tiny-run/checkpoint-10", "b": "tiny-run/checkpoint-30"}
    found = split.get("/compare.json", params=asked).json()["comparison"]
    assert {task["task"] for task in found["variants"][0]["tasks"]} >= {"farm", "tell", "next"}


def test_it_is_one_row_of_the_leaderboard_and_of_the_command(
    split: TestClient, real_results: Path, text_results: Path
) -> None:
    (on_page,) = split.get("/leaderboard.json").json()["models"]
    said = called.milepost("leaderboard", real_results, text_results, "--json").out
    (of_command,) = json.loads(said)["models"]
    assert on_page["scores"] == of_command["scores"]
    assert len(on_page["scores"]) > 2


def test_what_both_folders_have_is_shown_once(real_results: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(real_results, tmp_path / "copy"))
    with client_of(real_results) as client:
        alone = client.get("/overview.json").json()["rows"]
        state = client.get("/progress.json").json()
    with client_of(real_results, copy) as client:
        assert client.get("/overview.json").json()["rows"] == alone
        assert client.get("/progress.json").json() == state


def test_another_setting_of_the_same_task_stays_visible(
    tiny_run: Path, real_results: Path, tmp_path: Path
) -> None:
    tasks = real_results.parent / "tasks"
    few = tmp_path / "few"
    milepost.evaluate(tiny_run, "farm", output_path=few, include_path=tasks, engine="padded", limit=4)
    with client_of(real_results, few) as client:
        rows = client.get("/curves.json?task=farm*").json()["rows"]
        page = client.get("/overview", headers=BROWSER).text
    assert {(row["series"], row["limit"], row["n"]) for row in rows} == {
        ("tiny-run", None, 16),
        ("tiny-run", 4, 8),
    }
    assert "farm limit 4" in page
