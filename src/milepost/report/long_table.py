"""Rows as data for other programs: one line per metric and checkpoint, as JSON, CSV or Parquet."""

from __future__ import annotations

from collections.abc import Sequence

from milepost.analysis.row import RECORD_KEYS, Row, record
from milepost.report.csv_text import csv_text
from milepost.report.json_text import json_text
from milepost.report.table import data_table

_PARQUET_TYPES = {"step": "int64", "n": "int64", "num_fewshot": "int64"} | dict.fromkeys(
    ("value", "stderr", "ci_low", "ci_high", "chance", "limit"), "float64"
)


def as_json(rows: Sequence[Row]) -> str:
    """Return an array of objects with the keys `RECORD_KEYS`; what is not known is null."""
    return json_text([record(row) for row in rows])


def as_csv(rows: Sequence[Row]) -> str:
    """Return a header of `RECORD_KEYS` and a line per row; what is not known is an empty field."""
    return csv_text(data_table([record(row) for row in rows], RECORD_KEYS))


def as_parquet(rows: Sequence[Row]) -> bytes:
    """Return the columns `RECORD_KEYS`: step and n as int64, values as float64, names as strings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(key, _PARQUET_TYPES.get(key, "string")) for key in RECORD_KEYS])
    table = pa.Table.from_pylist([record(row) for row in rows], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data
