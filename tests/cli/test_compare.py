"""`milepost compare`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from milepost.cli.compare import command
from milepost.cli.run import as_arguments
from milepost.run.config import OPTIONS
from tests.cli.called import milepost
from tests.run.own_tasks import write_tasks


@pytest.fixture(scope="module")
def results(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints measured on tasks of our own."""
    folder = tmp_path_factory.mktemp("compare")
    tasks = write_tasks(folder / "tasks")
    done = milepost("run", tiny_run, "-t", "farm,prose", "--include-path", tasks, "-o", folder / "results")
    assert done.status == 0, done.err
    return folder / "results"


def test_the_verdicts_are_printed_and_the_files_named(results: Path, tmp_path: Path) -> None:
    done = milepost("compare", f"{results}@10", f"{results}@checkpoint-20", results, "-o", tmp_path / "out")
    assert done.status == 0, done.err
    assert "tiny-run checkpoint-10" in done.out
    assert "not distinguishable" in done.out
    assert f"wrote {tmp_path / 'out' / 'comparison_report.md'}" in done.err
    assert (tmp_path / "out" / "pruned_2_model_results.json").is_file()


def test_json_is_what_the_file_holds(results: Path, tmp_path: Path) -> None:
    done = milepost("compare", f"{results}@10", results, "-o", tmp_path / "out", "--json")
    found = json.loads(done.out)
    assert found == json.loads((tmp_path / "out" / "comparison_results.json").read_text("utf-8"))
    assert found["variants"][0]["name"] == "tiny-run checkpoint-30"
    assert {one["task"] for one in found["variants"][0]["tasks"]} == {"farm", "prose"}
    assert {one["task"] for one in found["variants"][0]["subjects"]} == {"where", "who"}


def test_tasks_choose_among_what_results_hold(results: Path, tmp_path: Path) -> None:
    done = milepost("compare", f"{results}@10", results, "-t", "pro*", "-o", tmp_path / "out", "--json")
    (variant,) = json.loads(done.out)["variants"]
    assert [one["task"] for one in variant["tasks"]] == ["prose"]


def test_a_source_is_run_and_options_of_run_are_understood(
    results: Path, tiny_run: Path, tmp_path: Path
) -> None:
    asked = (
        "-t",
        "where",
        "--include_path",
        results.parent / "tasks",
        "--no-perplexity",
        "--dtype",
        "float32",
    )
    done = milepost("compare", tiny_run / "checkpoint-10", results, *asked, "-o", tmp_path / "out", "--json")
    assert done.status == 0, done.err
    (variant,) = json.loads(done.out)["variants"]
    assert [(one["task"], one["docs"]["common"]) for one in variant["tasks"]] == [("where", 8)]
    assert (tmp_path / "out" / "original" / "milepost.json").is_file()
    assert not (tmp_path / "out" / "pruned").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("{results}@checkpoint-11", "{results}"), "has no metrics of a checkpoint checkpoint-11"),
        (("{results}", "nowhere"), "on no task"),
        (("{results}", "{results}", "-t", "mmlu"), "has no metrics of mmlu"),
    ],
)
def test_bad_input_is_one_line_a_hint_and_status_2(
    results: Path, tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    done = milepost("compare", *(name.format(results=results) for name in names), "-o", tmp_path / "out")
    assert done.status == 2
    assert message in done.err
    assert "hint: " in done.err
    assert not (tmp_path / "out").exists()


def test_a_detached_comparison_leaves_a_log_beside_its_report(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["compare", f"{results}@10", str(results), "-o", str(out), "--detach", "--json"]
    started = subprocess.run(
        [sys.executable, "-m", "milepost", *words], capture_output=True, check=True, text=True
    )
    log = Path(json.loads(started.stdout)["log"])
    assert log.parent == out
    end = time.monotonic() + 600
    while "comparison_report.html" not in log.read_text("utf-8"):
        assert time.monotonic() < end, log.read_text("utf-8")
        time.sleep(0.2)
    assert sorted(path.suffix for path in out.iterdir()) == [
        ".html",
        ".json",
        ".json",
        ".json",
        ".log",
        ".md",
    ]


def test_every_option_taken_over_from_run_is_an_argument_of_evaluate() -> None:
    own = {"original", "others", "output_path", "perplexity", "examples", "as_json", "apart"}
    given = command.make_context("compare", ["a", "b"]).params
    arguments = as_arguments({name: value for name, value in given.items() if name not in own})
    assert set(arguments) - {"ask"} <= set(OPTIONS)
