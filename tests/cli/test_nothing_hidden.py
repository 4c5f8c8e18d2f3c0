"""Everything that was ever measured is in `show`, exports, packs, `status` and `compare`."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.cli.called import Called, milepost
from tests.run.own_tasks import write_tasks


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def results(tiny_run: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`farm` of all; then `where` in another limit, and in another dtype of one; `prose` alone, newest."""
    folder = tmp_path_factory.mktemp("hidden") / "results"

    def run(*words: object) -> Called:
        done = milepost("run", tiny_run, "--include-path", tasks, "-o", folder, *words)
        assert done.status == 0, done.err
        return done

    run("-t", "farm", "--dtype", "float32")
    run("-t", "where", "--limit", "4", "--dtype", "float32")
    run("-t", "where", "--dtype", "bfloat16", "--steps", "30")
    run("-t", "prose", "--dtype", "float32", "--steps", "20")
    return folder


def settings_of(rows: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {
        (row["task"], str(row["limit"] or ""), row["dtype"])
        for row in rows
        if row["metric"] in ("acc", "word_perplexity")
    }


EVERY = {
    ("farm", "", "float32"),
    ("who", "", "float32"),
    ("where", "", "float32"),
    ("where", "", "bfloat16"),
    ("where", "4", "float32"),
    ("prose", "", "float32"),
}


def test_exports_hold_all_that_show_shows_with_the_settings_as_columns(results: Path, tmp_path: Path) -> None:
    shown = json.loads(milepost("show", results, "--json").out)
    assert settings_of(shown) == EVERY
    for name in ("rows.csv", "rows.parquet"):
        assert milepost("export", results, "-o", tmp_path / name).status == 0
    table = list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text("utf-8"))))
    assert settings_of(table) == EVERY
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == shown
    assert {"num_fewshot", "limit", "dtype", "settings", "reason"} <= set(table[0])


def test_tables_name_the_settings_where_they_differ_and_below_where_they_do_not(results: Path) -> None:
    shown = milepost("show", results, "--all").out
    for label in ("where limit 4 float32", "where no limit float32", "where no limit bfloat16"):
        assert label in shown
    assert "0-shot, limit 4, float32: where limit 4 float32" in shown
    one = milepost("show", results, "-t", "farm").out
    assert "settings: 0-shot, float32" in one


@pytest.mark.parametrize("kind", ["curves", "bars", "heatmap"])
def test_pictures_have_every_setting(kind: str, results: Path, tmp_path: Path) -> None:
    drawn = milepost("plot", results, "-t", "where", "--kind", kind, "-o", tmp_path / "all.svg", "--json")
    assert set(json.loads(drawn.out)["tasks"]) == {
        "where limit 4 float32",
        "where no limit bfloat16",
        "where no limit float32",
    }


def test_lm_evals_files_are_of_every_command_and_the_same_each_time(results: Path, tmp_path: Path) -> None:
    def files() -> set[str]:
        assert milepost("export", results, "--format", "lm_eval", "-o", tmp_path).status == 0
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json*")}

    first = files()
    assert files() == first
    of_last = [
        json.loads(path.read_text("utf-8")) for path in sorted(tmp_path.glob("checkpoint-30/*/results_*"))
    ]
    assert {
        (*sorted(one["results"]), one["config"]["limit"], one["config"]["model_dtype"]) for one in of_last
    } == {
        ("farm", "where", "who", None, "float32"),
        ("where", None, "bfloat16"),
        ("where", 4.0, "float32"),
    }
    of_second = [json.loads(path.read_text("utf-8")) for path in tmp_path.glob("checkpoint-20/*/results_*")]
    assert {name for one in of_second for name in one["results"]} == {"farm", "where", "who", "prose"}


def test_a_pack_can_hold_lm_evals_files_and_is_the_same_each_time(results: Path, tmp_path: Path) -> None:
    packed = [tmp_path / "one.zip", tmp_path / "two.zip"]
    for path in packed:
        done = milepost("pack", results, "-o", path, "--lm-eval", "--partial")
        assert done.status == 0, done.err
    assert packed[0].read_bytes() == packed[1].read_bytes()
    names = zipfile.ZipFile(packed[0]).namelist()
    assert sum("/results_" in name for name in names) == 3 + 3 + 1 + 1
    assert any("samples_where_" in name for name in names)


def test_status_counts_every_checkpoint_of_a_series(results: Path) -> None:
    """The newest run asked for one of the three, as a watch does with each that appears."""
    assert "tiny-run: 3 of 3 checkpoints done" in milepost("status", results).out


def test_compare_adds_to_a_report_of_other_tasks(
    results: Path, tiny_run: Path, tasks: Path, tmp_path: Path
) -> None:
    def compare(*words: object) -> set[str]:
        done = milepost("compare", *words, "-o", tmp_path / "out", "--json")
        assert done.status == 0, done.err
        (variant,) = json.loads(done.out)["variants"]
        return {one["task"] for one in variant["tasks"]}

    given = f"{results}@10", f"{results}@20"
    assert compare(*given, "-t", "farm") == {"farm"}
    assert compare(*given, "-t", "where") == {
        "farm",
        "where limit 4",
    }  # the other `where` is inside of `farm`
    other = compare(f"{results}@10", f"{results}@30", "-t", "where")
    assert "farm" not in other  # another model: its report begins anew


def test_compare_of_sources_adds_what_it_runs(tiny_run: Path, tasks: Path, tmp_path: Path) -> None:
    models = tiny_run / "checkpoint-10", tiny_run / "checkpoint-20"
    asked = "--include-path", tasks, "--no-perplexity", "-o", tmp_path / "out", "--json"
    for task, expected in (("where", ["where"]), ("who", ["where", "who"])):
        done = milepost("compare", *models, "-t", task, *asked)
        assert done.status == 0, done.err
        (variant,) = json.loads(done.out)["variants"]
        assert sorted(one["task"] for one in variant["tasks"]) == expected
