"""Rows as data: the same in JSON, CSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
import math

import pyarrow.parquet as pq

from milepost.analysis import record, rows
from milepost.report.long_table import as_csv, as_json, as_parquet
from tests.analysis.made import accuracy, measurement, perplexity

ROWS = rows(
    [
        accuracy(value=1 / 3, n=100, series='a,"b"\nc', step=1),
        measurement(value=math.nan, stderr=math.nan, step=2),
        perplexity(value=23.5, step=None, checkpoint="main"),
    ]
)


def test_json_has_null_where_there_is_no_number() -> None:
    found = json.loads(as_json(ROWS), parse_constant=lambda name: pytest_fail(name))
    assert found == [record(row) for row in ROWS]
    assert found[1]["value"] is None


def pytest_fail(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def test_csv_reads_back_exactly() -> None:
    found = list(csv.DictReader(io.StringIO(as_csv(ROWS), newline="")))
    wanted = [{k: "" if v is None else str(v) for k, v in record(row).items()} for row in ROWS]
    assert found == wanted
    assert float(found[0]["value"]) == 1 / 3


def test_parquet_reads_back_exactly_and_keeps_its_types_even_without_rows() -> None:
    assert pq.read_table(io.BytesIO(as_parquet(ROWS))).to_pylist() == [record(row) for row in ROWS]
    types = {field.name: str(field.type) for field in pq.read_schema(io.BytesIO(as_parquet([])))}
    assert (types["step"], types["value"], types["task"]) == ("int64", "double", "string")
