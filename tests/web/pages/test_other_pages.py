"""Leaderboard, signal, perplexity and runs say what the commands of these names print."""

from __future__ import annotations

import json
import re
from pathlib import Path

from starlette.testclient import TestClient

from milepost.store import ResultsFolder
from milepost.store.atomic_files import write_json
from milepost.store.records import RunRecord
from tests.analysis.made import mmlu, rising, write_results
from tests.cli.called import milepost
from tests.web.conftest import STEPS, client_of

BROWSER = {"accept": "text/html"}


def test_the_leaderboard_is_that_of_the_command(real: TestClient, real_results: Path) -> None:
    for at in ("last", "best", "20"):
        expected = json.loads(milepost("leaderboard", real_results, "--at", at, "--json").out)
        assert real.get("/leaderboard.json", params={"at": at}).json() == {"at": at, **expected}


def test_published_scores_stand_beside_the_results(real_results: Path, tmp_path: Path) -> None:
    published = tmp_path / "published.yaml"
    published.write_text("Other:\n  farm: {acc: 0.5}\n")
    with client_of(real_results, baselines=published) as client:
        names = [model["name"] for model in client.get("/leaderboard.json?task=farm").json()["models"]]
        assert "Other" in names


def test_the_signal_is_that_of_the_command(real: TestClient, real_results: Path) -> None:
    expected = json.loads(milepost("signal", real_results, "--json").out)
    assert real.get("/signal.json").json() == {"all": True, "signals": expected}


def test_of_many_tasks_groups_are_rated_first_and_all_on_demand(tmp_path: Path) -> None:
    results = write_results(tmp_path / "many", mmlu(STEPS, subjects=57))
    with client_of(results) as client:
        few = client.get("/signal.json").json()
        assert few["all"] is False
        assert {signal["kind"] for signal in few["signals"]} == {"group"}
        every = client.get("/signal.json?all=1").json()
        assert every["signals"] == json.loads(milepost("signal", results, "--json").out)


def test_pages_write_one_minus_sign_before_numbers(tmp_path: Path) -> None:
    falling = rising("a", STEPS, low=0.6, high=0.3, n=500)
    with client_of(write_results(tmp_path / "falling", falling)) as client:
        for name in ("overview", "signal", "subjects"):
            html = client.get(f"/{name}", headers=BROWSER).text
            shown = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", html, flags=re.DOTALL)
            assert name == "subjects" or "−" in shown, name
            assert re.findall(r"(?<![\w-])-\d[\d.]*", shown) == [], name


def test_the_curve_stands_beside_the_verdict(real: TestClient) -> None:
    html = real.get("/signal", headers=BROWSER).text
    verdict = real.get("/signal.json").json()["signals"][0]["verdict"]
    card = html.partition("<article")[2].partition("</article>")[0]
    assert "<svg" in card
    assert any(words in html for words in (verdict, verdict.capitalize()))


def test_runs_say_how_it_was_measured(real: TestClient) -> None:
    data = real.get("/runs.json").json()
    assert [each["done"] for each in data["checkpoints"]] == [True] * 3
    assert {each["engine"] for each in data["checkpoints"]} == {"padded"}
    assert data["runs"][0]["versions"]["lm_eval"] == "0.4.13"
    assert data["origin"] is None


def test_a_checkpoint_has_its_origin_and_its_log(real: TestClient) -> None:
    first = real.get("/runs.json").json()["checkpoints"][0]
    name = f"{first['series']}/{first['checkpoint']}"
    data = real.get("/runs.json", params={"checkpoint": name}).json()
    assert data["origin"]["checkpoint"] == first["checkpoint"]
    assert data["origin"]["n_shards"] > 0
    html = real.get("/runs", params={"checkpoint": name}, headers=BROWSER).text
    assert data["origin"]["model_id"] in html
    assert "milepost.checkpoint" in html


def test_a_checkpoint_that_is_not_there_is_a_404(real: TestClient) -> None:
    for name in ("nope", "../../etc", "tiny-run/../checkpoint-10"):
        assert real.get("/runs.json", params={"checkpoint": name}).status_code == 404


def test_a_failure_is_told(tmp_path: Path) -> None:

    results = write_results(tmp_path / "failed", mmlu([1000], subjects=2))
    folder = ResultsFolder(results)
    lost = {"series": "run", "checkpoint": "step-2000", "step": 2000, "failure": "no <config.json>"}
    write_json(folder.checkpoint_path("run", "step-2000"), lost)
    names = {"run": ("step-1000", "step-2000")}
    folder.write_run(RunRecord(plan_id="plan", series=("run",), checkpoints=names))
    with client_of(results) as client:
        data = client.get("/runs.json").json()
        assert [each["failure"] for each in data["checkpoints"]] == [None, "no <config.json>"]
        assert data["progress"]["failed"] == 1
        html = client.get("/runs", headers=BROWSER).text
        assert "no &lt;config.json&gt;" in html


def test_an_empty_folder_is_shown_on_every_page(tmp_path: Path) -> None:
    ResultsFolder.create(tmp_path / "empty")
    with client_of(tmp_path / "empty") as client:
        for page in ("", "leaderboard", "signal", "perplexity", "questions", "runs"):
            assert client.get(f"/{page}", headers=BROWSER).status_code == 200
            assert client.get(f"/{page or 'overview'}.json").status_code == 200
