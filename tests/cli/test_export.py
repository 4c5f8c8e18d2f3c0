"""`milepost export`, as CSV and Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.analysis.made import mmlu, write_results
from tests.cli.called import milepost


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_results(tmp_path_factory.mktemp("export") / "results", mmlu([1000, 2000], subjects=4))


def test_parquet_holds_the_rows_of_show_json(results: Path, tmp_path: Path) -> None:
    target = tmp_path / "rows.parquet"
    assert milepost("export", results, "-o", target).out == f"wrote {target}\n"
    assert pq.read_table(target).to_pylist() == json.loads(milepost("show", results, "--json").out)


def test_csv_is_what_show_csv_prints(results: Path, tmp_path: Path) -> None:
    target = tmp_path / "rows.txt"
    exported = milepost("export", results, "--format", "csv", "-o", target, "--json")
    assert json.loads(exported.out) == {"format": "csv", "files": [str(target)]}
    assert target.read_text("utf-8") == milepost("show", results, "--csv").out


def test_a_name_that_does_not_say_the_format_asks_for_it(results: Path, tmp_path: Path) -> None:
    exported = milepost("export", results, "-o", tmp_path / "rows")
    assert exported.status == 2
    assert "hint: pass --format lm_eval|helm|csv|parquet" in exported.err
    assert list(tmp_path.iterdir()) == []
