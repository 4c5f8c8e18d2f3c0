"""Results of a stranger: whatever stands in names and texts is shown as text, and no path leads out."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import milepost
from milepost.store import ResultsFolder
from milepost.store.atomic_files import read_json, write_json
from tests.analysis.made import rising, write_results
from tests.run.own_tasks import write_task
from tests.web.conftest import client_of

BROWSER = {"accept": "text/html"}
SCRIPT = "<script>stolen()</script>"
HANDLER = '"><img src=x onerror=stolen()>'
TEMPLATE = "{{ 7*7 }}{% raw %}${7*7}"
ANSI = "\x1b[31mred\x1b]0;title\x07"
RTL = "abc\u202egnp.exe"
NAMES = (SCRIPT, HANDLER, TEMPLATE, RTL, "a/../../b", "C:\\x", "'; DROP", "%2e%2e%2f", "日本 語", "x" * 300)
STEPS = [1, 2, 3, 4, 5, 6]
PARAMETERS = ("series", "task", "search", "kind", "page", "doc", "at", "lang", "checkpoint")
SURROGATE = "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")
NOT_SHOWN = ("\u202e", "\x1b")
NOT_SHOWN_IN_CHARTS = (r"\u202e", r"\u001b")
"""As the JSON of a chart has the same."""
PAGES = (
    "/",
    "/curves",
    "/subjects",
    "/signal",
    "/runs",
    "/questions",
    "/compare",
    "/perplexity",
)


class _Markup(HTMLParser):
    """Notes elements that could run something, and text that is not what it looks like."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_data(self, data: str) -> None:
        # The values of a form are as they are; what is shown, or drawn in a chart, is spelled out.
        bad = NOT_SHOWN_IN_CHARTS if self.lasttag == "script" else NOT_SHOWN
        self.faults += [each for each in bad if each in data.replace("\\\\", "")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        source = given.get("src") or ""
        if tag == "script" and given.get("type") != "application/json" and not source.startswith("/static/"):
            self.faults.append(f"script {source}")
        if tag in ("img", "iframe", "object", "embed", "base"):
            self.faults.append(tag)
        self.faults += [name for name in given if name.startswith("on") or name == "style"]
        target = given.get("href") or ""
        if target.lower().strip().startswith(("javascript:", "data:", "http:", "//")):
            self.faults.append(target)


def faults_of(html: str) -> list[str]:
    parser = _Markup()
    parser.feed(html)
    return parser.faults


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Results whose series, checkpoints and tasks have names that are not names."""
    figures = [
        figure
        for name in NAMES
        for figure in rising(
            f"task {name}", [1, 2, 3, 4, 5, 6], low=0.2, high=0.9, n=90, series=f"run {name}"
        )
    ]
    folder = write_results(tmp_path_factory.mktemp("hostile") / "results", figures)
    results = ResultsFolder(folder)
    lost = {"series": f"run {SCRIPT}", "checkpoint": HANDLER, "step": None, "failure": f"{SCRIPT} {ANSI}"}
    write_json(results.checkpoint_path(f"run {SCRIPT}", HANDLER), lost)
    with client_of(folder) as client:
        yield client


@pytest.mark.parametrize("page", PAGES)
def test_names_are_shown_as_text(named: TestClient, page: str) -> None:
    answer = named.get(page, headers=BROWSER)
    assert answer.status_code == 200
    assert faults_of(answer.text) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_any_kind_can_be_asked_for(named: TestClient, name: str) -> None:
    answer = named.get("/curves", params={"series": f"run {name}", "task": f"task {name}"}, headers=BROWSER)
    assert answer.status_code in (200, 400, 404)
    assert faults_of(answer.text) == []


@pytest.mark.parametrize("value", [*NAMES, ANSI, "\x00", SURROGATE])
@pytest.mark.parametrize("parameter", PARAMETERS)
def test_what_stands_in_an_address_is_shown_as_text_too(real: TestClient, parameter: str, value: str) -> None:
    for page in ("/questions", "/question", "/leaderboard", "/runs", "/curves"):
        answer = real.get(page, params={parameter: value}, headers=BROWSER)
        assert answer.status_code in (200, 400, 404), (page, answer.text)
        assert faults_of(answer.text) == []


@pytest.fixture(scope="module")
def asked(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Real scores of questions that want to be more than text."""
    folder = tmp_path_factory.mktemp("asked")
    line = "very long " * 100_000
    texts = [SCRIPT, HANDLER, TEMPLATE, ANSI, RTL, line]
    docs = [{"q": text[-80:], "whole": text, "places": [SCRIPT, HANDLER], "place": 0} for text in texts]
    config = {
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "{{places}}",
        "doc_to_target": "{{place}}",
    }
    write_task(folder / "tasks", "where", docs, config)
    milepost.evaluate(
        tiny_run, "where", include_path=folder / "tasks", output_path=folder / "results", engine="padded"
    )
    with client_of(folder / "results") as client:
        yield client


def test_questions_are_shown_as_text(asked: TestClient) -> None:
    for page in ("/questions", *(f"/question?doc={doc}" for doc in range(6))):
        answer = asked.get(page, headers=BROWSER)
        assert answer.status_code == 200
        assert faults_of(answer.text) == []
        assert "&lt;script&gt;stolen()" in answer.text
        assert "49$" not in answer.text


def test_a_line_of_a_megabyte_is_found_and_shown(asked: TestClient) -> None:
    found = asked.get("/questions.json", params={"search": "very long"}).json()
    assert [doc["doc_id"] for doc in found["questions"]] == [5]
    assert asked.get("/question?doc=5", headers=BROWSER).status_code == 200


def test_the_data_of_hostile_questions_is_plain_json(asked: TestClient) -> None:
    answer = asked.get("/question.json?doc=0")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert SCRIPT in answer.json()["question"]["requests"][0]["context"]


def test_a_link_out_of_the_folder_is_not_followed(real_results: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(real_results, tmp_path / "copy")
    secret = tmp_path / "secret.json"
    secret.write_text('{"series": "secret"}')
    visit = next((copy / "store" / "checkpoints").rglob("*.json"))
    visit.unlink()
    visit.symlink_to(secret)
    with client_of(real_results) as client, pytest.raises(milepost.MilepostError, match="link out of"):
        client_of(copy)
    assert "secret" not in client.get("/runs.json").text


def test_a_log_that_leads_out_is_not_read(real_results: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(real_results, tmp_path / "copy")
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret line")
    log = next(copy.glob("checkpoint-*/*/evaluation.log"))
    log.unlink()
    log.symlink_to(secret)
    with client_of(copy) as client:
        first = client.get("/runs.json").json()["checkpoints"][0]
        name = f"{first['series']}/{first['checkpoint']}"
        assert "secret line" not in client.get("/runs", params={"checkpoint": name}, headers=BROWSER).text


def test_a_fifo_in_place_of_a_record_holds_nobody_up(real_results: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(real_results, tmp_path / "copy")
    for kind in ("picks", "docs", "choices"):
        for path in (copy / "store" / kind).rglob("*.parquet"):
            path.unlink()
            os.mkfifo(path)
    with client_of(copy) as client:
        for page in ("/", "/questions", "/question?doc=1", "/leaderboard", "/signal", "/runs"):
            assert client.get(page, headers=BROWSER).status_code in (200, 404)


def test_damaged_records_are_named_and_the_rest_is_shown(real_results: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(real_results, tmp_path / "copy")
    metrics = sorted((copy / "store" / "metrics").rglob("*.json"))[0]
    metrics.write_bytes(metrics.read_bytes()[:-30])
    visit = sorted((copy / "store" / "checkpoints").rglob("*.json"))[1]
    visit.write_bytes(b"\x00 not json")
    with client_of(copy) as client:
        damaged = client.get("/runs.json").json()["damaged"]
        assert set(damaged) == {path.relative_to(copy).as_posix() for path in (metrics, visit)}
        rows = client.get("/overview.json").json()["rows"]
        assert {row["checkpoint"] for row in rows if row["value"] is not None} != set()
        html = client.get("/runs", headers=BROWSER).text
        assert all(place in html for place in damaged)
        assert json.dumps(rows)


def test_a_reason_that_names_a_record_is_text(real_results: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(real_results, tmp_path / "results")
    for path in (copy / "store" / "plans").rglob("*.json"):
        plan = read_json(path)
        for task in plan.get("tasks", ()):
            task["docs_id"] = f"{SCRIPT}{ANSI}{RTL}"
        write_json(path, plan)
    with client_of(copy) as client:
        answer = client.get("/compare", headers=BROWSER)
    assert answer.status_code == 200
    assert "&lt;script&gt;stolen()" in answer.text
    assert faults_of(answer.text) == []
