"""Reports of a results folder that has HELM's entries beside lm_eval's tasks."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("helm", reason="HELM is not installed here; `make test-helm` has it")

from milepost.api.helm_files import export_helm
from milepost.errors import MissingDataError, TaskError
from milepost.store import ResultsIndex
from tests.cli.called import milepost as call

from .conftest import MMLU, SEPARATE, STEPS, read, run

NAMES = {"export": "table.csv", "plot": "curves.html", "report": "report.html"}
BOTH = ("arc_easy", "helm:boolq", MMLU)


@pytest.fixture(scope="module")
def mixed(
    run_folder: Path, helm_data: Path, helm_environment: object, hub: str, tmp_path_factory: Any
) -> Path:
    """Results of HELM's entries and a task of lm_eval's in one folder."""
    out: Path = tmp_path_factory.mktemp("mixed")
    run(run_folder, out, helm_data, ["boolq", MMLU, SEPARATE], tasks="arc_easy", limit=8)
    return out


@pytest.fixture(scope="module")
def summarized(mixed: Path, helm_environment: dict[str, str], tmp_path_factory: Any) -> Path:
    """HELM's files of the results, with those that `helm-summarize` adds."""
    out: Path = tmp_path_factory.mktemp("summarized")
    export_helm(ResultsIndex.open(mixed), out)
    # Several threads parse templates at once, which CPython 3.11 sometimes fails at (gh-106905).
    command = [str(Path(sys.executable).with_name("helm-summarize")), "-o", str(out), "--suite", "milepost"]
    command += ["--num-threads", "1"]
    done = subprocess.run(command, env=helm_environment, cwd=out, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


SERVER = """
import sys, bottle
from helm.benchmark.server import main
run = bottle.Bottle.run
bottle.Bottle.run = lambda self, **options: run(self, **{**options, "host": "127.0.0.1"})
sys.argv[0] = "helm-server"
main()
"""
"""`helm-server`, which has no option for the address that it listens at."""


@pytest.fixture(scope="module")
def server(summarized: Path, helm_environment: dict[str, str]) -> Iterator[str]:
    """Address of a `helm-server` over the files."""
    if importlib.util.find_spec("cgi") is None:
        pytest.skip("HELM 0.5.16's server needs Python's cgi, which 3.13 does not have")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVER, "-p", str(port), "-o", str(summarized), "--suite", "milepost"]
    nowhere = subprocess.DEVNULL
    running = subprocess.Popen(command, env=helm_environment, stdout=nowhere, stderr=nowhere)
    try:
        while True:
            assert running.poll() is None, "helm-server ended"
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


def test_helm_summarizes_every_run(mixed: Path, summarized: Path) -> None:
    suite = summarized / "runs" / "milepost"
    made = {folder.name for folder in suite.iterdir() if (folder / "scenario_state.json").is_file()}
    assert len(made) == 3 * len(STEPS)
    assert {of["run_spec"]["name"] for of in read(suite, "runs")} == made
    (table, *_) = read(suite / "groups", "mmlu")
    assert {row[0]["value"].rpartition("/")[2] for row in table["rows"]} == set(STEPS)


def test_the_pages_of_helms_server_find_every_run(summarized: Path, server: str) -> None:
    def answer(path: str) -> bytes:
        with urllib.request.urlopen(f"{server}/{path}", timeout=60) as reply:
            found: bytes = reply.read()
            return found

    assert b"<html" in answer("")
    assert b'window.SUITE = "milepost"' in answer("config.js")
    suite = "benchmark_output/runs/milepost"
    for name in ("summary", "schema", "groups", "groups_metadata", "groups/mmlu"):
        assert json.loads(answer(f"{suite}/{name}.json"))
    runs = json.loads(answer(f"{suite}/runs.json"))
    for name in (urllib.request.quote(of["run_spec"]["name"]) for of in runs):
        instances = json.loads(answer(f"{suite}/{name}/instances.json"))
        for of_instances in ("display_requests", "display_predictions"):
            shown = json.loads(answer(f"{suite}/{name}/{of_instances}.json"))
            assert {of["instance_id"] for of in shown} == {of["id"] for of in instances}
        assert json.loads(answer(f"{suite}/{name}/stats.json"))


def test_compare_pairs_the_docs_of_both_sources(mixed: Path, tmp_path: Path) -> None:
    names = [f"{mixed}@{step}" for step in STEPS]
    done = call("compare", *names, "--no-perplexity", "-o", tmp_path / "compared")
    assert done.status == 0, done.err
    assert all(task in done.out for task in BOTH)
    found = read(tmp_path / "compared", "comparison_results")
    assert json.dumps(found).count(SEPARATE) > 0


def test_compare_asks_both_models_helms_entries(run_folder: Path, helm_data: Path, tmp_path: Path) -> None:
    asked = ["--helm", "narrative_qa", "--max-eval-instances", "4", "--helm-data", helm_data]
    models = [run_folder / step for step in STEPS]
    done = call("compare", *models, *asked, "--no-perplexity", "--yes", "-o", tmp_path / "compared")
    assert done.status == 0, done.err
    assert "f1_score" in json.dumps(read(tmp_path / "compared", "comparison_results"))


def test_a_joint_choice_is_shown_with_the_likeliest_letters_of_each_checkpoint(mixed: Path) -> None:
    (one, *_) = json.loads(call("questions", mixed, "-t", MMLU, "--json").out)
    assert one["target"][:3] in ("A. ", "B. ", "C. ", "D. ")
    for checkpoint in one["checkpoints"]:
        (text, most), *others = checkpoint["likeliest_first_tokens"]
        assert text.strip() == checkpoint["text"].strip()
        assert len(others) == 4
        assert all(nats <= most < 0 for _, nats in others)
    shown = call("questions", mixed, "-t", MMLU, "-n", "1").out
    assert shown.count("likeliest first tokens: '") == len(STEPS)
    assert "likeliest" not in call("questions", mixed, "-t", "helm:boolq", "-n", "1").out


def test_single_questions_of_helm_are_shown_with_each_checkpoints_answer(mixed: Path) -> None:
    found = json.loads(call("questions", mixed, "-t", SEPARATE, "-n", "99", "--json").out)
    assert len(found) == 6
    for one in found:
        for checkpoint in one["checkpoints"]:
            assert checkpoint["is_right"] == (checkpoint["text"] == one["target"])
            assert checkpoint["written"] == ""
    stats = json.loads(call("questions", mixed, "--stats", "--json").out)
    assert {of["task"] for of in stats} == {"arc_easy", "helm:boolq", MMLU, SEPARATE}


@pytest.mark.parametrize(
    "command",
    [
        ["show"],
        ["signal"],
        ["leaderboard"],
        ["export", "--format", "csv", "-o"],
        ["plot", "-o"],
        ["report", "-o"],
    ],
)
def test_reports_have_helms_entries_beside_lm_evals_tasks(
    command: list[str], mixed: Path, tmp_path: Path
) -> None:
    name, *rest = command
    target = [tmp_path / NAMES.get(name, "")] if rest else []
    done = call(name, mixed, *rest, *target)
    assert done.status == 0, done.err
    said = target[0].read_text("utf-8") if target else done.out
    assert all(task in said for task in BOTH)


def test_a_table_of_helms_statistics_does_not_import_helm(mixed: Path) -> None:
    code = "import sys; from milepost.cli.main import main\ntry: main()\n"
    code += "finally: print('helm imported:', 'helm' in sys.modules)"
    command = [sys.executable, "-c", code, "show", str(mixed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "helm:boolq" in done.stdout
    assert done.stdout.endswith("helm imported: False\n")


def test_quick_asks_first_and_last_checkpoint_and_says_how_long_all_take(
    run_folder: Path, helm_data: Path, tmp_path: Path
) -> None:
    asked = ["--helm", MMLU, "--max-eval-instances", "4", "--helm-data", helm_data]
    done = call("run", run_folder, *asked, "--quick", "-o", tmp_path / "out")
    assert done.status == 0, done.err
    assert MMLU in done.out
    assert "the full job" in done.out + done.err


def test_the_files_of_helm_have_the_likeliest_tokens_where_they_are_asked_for(
    mixed: Path, tmp_path: Path
) -> None:
    for folder in export_helm(ResultsIndex.open(mixed), tmp_path):
        if not folder.name.startswith("mmlu"):
            continue
        for state in read(folder, "scenario_state")["request_states"]:
            (completion,) = state["result"]["completions"]
            (token,) = completion["tokens"]
            likeliest = token["top_logprobs"]
            assert len(likeliest) == state["request"]["top_k_per_token"] == 5
            assert next(iter(likeliest)) == token["text"]
            assert list(likeliest.values()) == sorted(likeliest.values(), reverse=True)


def test_runs_that_helm_gives_one_name_have_a_folder_each(
    run_folder: Path, helm_data: Path, helm_environment: object, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    warm = [f"boolq:max_train_instances=0,num_outputs=2,temperature={t}" for t in (0.2, 0.9)]
    for entries, n in (([MMLU], 2), ([MMLU, *warm], 3)):
        run(run_folder, results, helm_data, entries, max_eval_instances=n, steps="400:400")
    written = export_helm(ResultsIndex.open(results), tmp_path / "out")
    names = {folder.name.rpartition(",model=")[0]: read(folder, "run_spec") for folder in written}
    mmlu, boolq = (
        "mmlu:subject=anatomy,method=multiple_choice_joint",
        "boolq:max_train_instances=0,num_outputs=2",
    )
    assert names.keys() == {
        f"{mmlu},max_eval_instances=2",
        f"{mmlu},max_eval_instances=3",
        f"{boolq},temperature=0.2",
        f"{boolq},temperature=0.9",
    }
    assert all(spec["name"].startswith(name) for name, spec in names.items())
    assert names[f"{boolq},temperature=0.9"]["adapter_spec"]["temperature"] == 0.9


def test_an_entry_without_data_can_be_left_out(
    run_folder: Path, helm_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlretrieve", no_network)
    entries = ["legalbench:subset=abercrombie", "gsm", MMLU]
    done = run(run_folder, tmp_path / "out", helm_data, entries, skip_missing_data=True, steps="400:400")
    assert {row.task for row in done.rows()} == {MMLU}
    with pytest.raises(MissingDataError, match="gsm: its data cannot be had"):
        run(run_folder, tmp_path / "none", helm_data, entries[:2], skip_missing_data=True)


LOST = """task: lost
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
"""


def test_where_all_of_lm_evals_tasks_lack_data_the_entries_are_asked(
    run_folder: Path, helm_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlretrieve", no_network)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "lost.yaml").write_text(LOST.replace("FILE", str(tmp_path / "empty.jsonl")))
    (tmp_path / "empty.jsonl").write_text("")
    options = {"tasks": "lost", "include_path": tmp_path / "own", "skip_missing_data": True}
    done = run(run_folder, tmp_path / "out", helm_data, MMLU, steps="400:400", **options)
    assert {row.task for row in done.rows()} == {MMLU}
    with pytest.raises(TaskError, match="no task is left"):
        run(run_folder, tmp_path / "none", helm_data, "gsm", steps="400:400", **options)
