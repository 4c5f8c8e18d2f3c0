"""`milepost show`."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.made import accuracy, measurement, mmlu, write_results
from tests.cli.called import milepost

KEYS = ["series", "checkpoint", "step", "task", "metric", "filter"]
KEYS += ["value", "stderr", "ci_low", "ci_high", "n", "chance"]
KEYS += ["num_fewshot", "limit", "dtype", "settings", "reason"]
HEAVY = "torch lm_eval transformers numpy pandas pyarrow duckdb altair jinja2 huggingface_hub"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    found = mmlu([1000, 2000], subjects=4)
    found += [accuracy(value=v, n=500, task="piqa", step=1000 * (i + 1)) for i, v in enumerate((0.5, 0.6))]
    found += [measurement(task="piqa", metric="acc_norm", step=1000, value=None, stderr=None)]
    return write_results(tmp_path_factory.mktemp("show") / "results", found)


def test_the_table_has_groups_and_lone_tasks(results: Path) -> None:
    shown = milepost("show", results)
    assert shown.status == 0
    assert "mmlu_social_sciences" in shown.out
    assert "* 0.6000 ± 0.0430" in shown.out
    assert "mmlu_subject" not in shown.out
    assert "acc_norm" not in shown.out


def test_all_and_patterns_show_more(results: Path) -> None:
    assert "mmlu_subject_03" in milepost("show", results, "--all").out
    chosen = milepost("show", results, "--task", "mmlu_subject_*,piqa", "--metric", "acc_norm").out
    assert "acc_norm" in chosen
    assert "mmlu_subject" not in chosen


def test_json_has_every_figure_under_the_published_keys(results: Path) -> None:
    found = json.loads(milepost("show", results, "--json").out)
    assert len(found) == 9 * 2 + 3
    assert all(list(each) == KEYS for each in found)
    assert [each["value"] for each in found if each["metric"] == "acc_norm"] == [None]


def test_json_is_filtered_by_patterns(results: Path) -> None:
    found = json.loads(milepost("show", results, "--json", "-t", "piqa", "--metric", "acc").out)
    assert [(each["task"], each["metric"], each["step"]) for each in found] == [
        ("piqa", "acc", 1000),
        ("piqa", "acc", 2000),
    ]


def test_csv_has_the_same_figures_as_json(results: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(milepost("show", results, "--csv").out)))
    found = json.loads(milepost("show", results, "--json").out)
    assert [(line["task"], line["value"]) for line in lines] == [
        (each["task"], "" if each["value"] is None else str(each["value"])) for each in found
    ]


def test_markdown_has_a_line_per_step(results: Path) -> None:
    lines = milepost("show", results, "--markdown").out.splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")] == [
        "| step",
        "| ---:",
        "| 1000",
        "| 2000",
        "| chance",
        "| docs",
    ]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("-t", "mmlu_sten"), "no task matches `mmlu_sten`", "nearest: mmlu_stem"),
        (("--metric", "f1"), "no metric matches `f1`", "there are: acc, acc_norm"),
        (("--series", "other"), "no series matches `other`", "there are: run"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    results: Path, arguments: Any, message: str, hint: str
) -> None:
    shown = milepost("show", results, *arguments)
    assert shown.status == 2
    assert shown.out == ""
    assert f"error: {message}\nhint: {hint}" in shown.err


def test_a_folder_that_is_no_results_folder_is_one_line_and_a_hint(tmp_path: Path) -> None:
    shown = milepost("show", tmp_path)
    assert shown.status == 2
    assert shown.err.count("\n") == 2
    assert shown.err.startswith(f"error: {tmp_path} is not a results folder")


def test_show_imports_nothing_heavy(results: Path) -> None:
    code = (
        "import sys; sys.argv = ['milepost', 'show', sys.argv[1]]\n"
        "from milepost.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('loaded', [name for name in '{HEAVY}'.split() if name in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(results)], capture_output=True, text=True, check=True
    ).stdout
    assert out.splitlines()[-1] == "loaded []"
