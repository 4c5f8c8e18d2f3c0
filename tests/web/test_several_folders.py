"""Several results folders on one dashboard: their series side by side, and compared across folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from milepost.web.pages import PAGES
from tests.cli.called import milepost
from tests.conftest import save_tiny_llama
from tests.web.conftest import client_of
from tests.web.real import run_tiny
from tests.web.test_serving import served

BROWSER = {"accept": "text/html"}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of other models under the same names."""
    folder = tmp_path_factory.mktemp("others")
    for step in (10, 20, 30):
        save_tiny_llama(folder / "models" / "tiny-run" / f"checkpoint-{step}", seed=step + 1)
    return run_tiny(folder / "models" / "tiny-run", folder / "pruned")


@pytest.fixture(scope="module")
def both(real_results: Path, other: Path) -> Iterator[TestClient]:
    with client_of(real_results, other) as client:
        yield client


def series_of(client: TestClient) -> list[str]:
    return list(dict.fromkeys(row["series"] for row in client.get("/overview.json").json()["rows"]))


@pytest.mark.parametrize("name", [page.name for page in PAGES])
def test_every_page_shows_all_of_them(both: TestClient, name: str) -> None:
    answer = both.get(f"/{name}", headers=BROWSER)
    assert answer.status_code == 200
    assert both.get(f"/{name}.json").status_code == 200


def test_each_row_is_one_of_show(both: TestClient, real_results: Path, other: Path) -> None:
    names = series_of(both)
    assert len(names) == 2
    assert all(name.endswith(":tiny-run") for name in names)
    rows = both.get("/overview.json").json()["rows"]
    for folder in (real_results, other):
        (own_name,) = [name for name in names if name == f"{folder.parent.name}/{folder.name}:tiny-run"]
        own = [{**row, "series": "tiny-run"} for row in rows if row["series"] == own_name]
        shown = json.loads(milepost("show", folder, "--json").out)
        assert own
        assert all(row in shown for row in own)


def test_two_checkpoints_of_two_folders_are_compared(
    both: TestClient, real_results: Path, other: Path, tmp_path: Path
) -> None:
    first, second = series_of(both)
    asked = {"a": f"{first}/checkpoint-10", "b": f"{second}/checkpoint-30"}
    found = both.get("/compare.json", params=asked).json()["comparison"]
    said = milepost(
        "compare", f"{real_results}@checkpoint-10", f"{other}@checkpoint-30", "-o", tmp_path / "out", "--json"
    )
    expected = json.loads(said.out)
    for key in ("verdicts", "tasks", "subjects", "other_figures", "examples", "not_compared"):
        assert found["variants"][0][key] == expected["variants"][0][key]
    html = both.get("/compare", params=asked, headers=BROWSER).text
    assert "docs in common" in html
    assert "checkpoint-30" in html


def test_the_leaderboard_is_that_of_the_command(both: TestClient, real_results: Path, other: Path) -> None:
    said = milepost("leaderboard", real_results, other, "-t", "farm", "--json").out
    board = both.get("/leaderboard.json?task=farm").json()
    assert [model["scores"] for model in board["models"]] == [
        model["scores"] for model in json.loads(said)["models"]
    ]


def test_questions_and_logs_are_read_where_they_lie(both: TestClient) -> None:
    names = series_of(both)
    for series in names[:2]:
        found = both.get("/questions.json", params={"series": series}).json()
        assert {doc["series"] for doc in found["questions"]} == {series}
        assert found["total"] > 0
    origin = both.get("/runs.json", params={"checkpoint": f"{names[1]}/checkpoint-20"}).json()["origin"]
    assert origin["checkpoint"] == "checkpoint-20"
    page = both.get("/runs", params={"checkpoint": f"{names[1]}/checkpoint-20"}, headers=BROWSER).text
    assert "The end of its log" in page


def test_one_that_grows_is_seen(real_results: Path, text_results: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(text_results, tmp_path / "copy")
    lost = sorted((copy / "store" / "metrics").rglob("*.json"))[-1]
    kept = lost.rename(tmp_path / "kept")
    with client_of(real_results, copy) as client:
        assert client.get("/progress.json").json()["checkpoints_done"] == 2
    kept.rename(lost)
    with client_of(real_results, copy) as client:
        assert client.get("/progress.json").json()["checkpoints_done"] == 3


def test_serve_and_report_take_several_folders(
    real_results: Path, text_results: Path, tmp_path: Path
) -> None:
    with served(real_results, str(text_results)) as (_, url):
        assert url.startswith("http://127.0.0.1:")
    report = tmp_path / "report.html"
    assert milepost("report", real_results, text_results, "-o", report).status == 0
    text = report.read_text()
    assert "world" not in text
    assert "farm" in text
    assert "tell" in text
    refused = milepost("serve", real_results, tmp_path / "nothing", "--port", "0")
    assert refused.status == 2
    assert "nothing does not exist" in refused.err
