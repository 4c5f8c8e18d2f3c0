"""Reports of a results folder that has HELM's entries beside lm_eval's tasks."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("helm", reason="HELM is not installed here; `make test-helm` has it")

from milepost.api.helm_files import export_helm
from milepost.errors import MissingDataError
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


def test_single_questions_of_helm_are_shown_with_each_checkpoints_answer(mixed: Path) -> None:
    found = json.loads(call("questions", mixed, "-t", SEPARATE, "-n", "99", "--json").out)
    assert len(found) == 6
    for one in found:
        for checkpoint in one["checkpoints"]:
            assert checkpoint["is_right"] == (checkpoint["text"] in json.loads(one["target"]))
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
