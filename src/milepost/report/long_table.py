"""Rows as data for other programs: one line per figure, as JSON, CSV or Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from milepost.analysis.row import RECORD_KEYS, Row, record

_PARQUET_TYPES = {"step": "int64", "n": "int64"} | dict.fromkeys(
    ("value", "stderr", "ci_low", "ci_high", "chance"), "float64"
)


def as_json(rows: Sequence[Row]) -> str:
    """An array of objects with the keys `RECORD_KEYS`; what is not known is null."""
    return json.dumps([record(row) for row in rows], indent=1, allow_nan=False)


def as_csv(rows: Sequence[Row]) -> str:
    """A header of `RECORD_KEYS` and a line per row; what is not known is an empty field."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, RECORD_KEYS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(record(row) for row in rows)
    return text.getvalue()


def as_parquet(rows: Sequence[Row]) -> bytes:
    """The columns `RECORD_KEYS`: step and n as int64, figures as float64, names as strings, gaps as null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(key, _PARQUET_TYPES.get(key, "string")) for key in RECORD_KEYS])
    table = pa.Table.from_pylist([record(row) for row in rows], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data
