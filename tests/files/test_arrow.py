"""Columns of Arrow tables as arrays, without pandas and without pyarrow's compute functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from milepost.files.arrow import as_array, as_column
from milepost.store.tables import write_table


@pytest.mark.parametrize("first", [0, 3, 8, 13])
def test_bools_come_out_as_they_went_in_wherever_the_slice_begins(first: int) -> None:
    said = np.random.default_rng(first).random(40) < 0.5
    whole = pa.array(said)
    assert as_array(whole[first:]).tolist() == said[first:].tolist()
    assert as_array(whole[first : first + 5]).dtype == np.bool_
    assert as_array(pa.chunked_array([whole[:first], whole[first:]])).tolist() == said.tolist()


def test_no_rows_are_an_empty_array() -> None:
    assert as_array(pa.array([], pa.bool_())).tolist() == []
    assert as_array(pa.chunked_array([], pa.float32())).tolist() == []


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float32"])
def test_an_array_is_the_column_that_pyarrow_makes_of_it(dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, 41).astype(dtype)
    for part in (array, array[::2], array[:0]):
        assert as_column(part).equals(pa.array(part))


def test_reading_columns_imports_neither_pandas_nor_pyarrow_compute(tmp_path: Path) -> None:
    write_table(tmp_path / "made.parquet", pa.table({"right": [True, False], "margin": [1.5, -2.0]}))
    asked = (
        "import sys, pathlib; from milepost.files.arrow import as_array, read_parquet;"
        "from milepost.store.tables import read_table;"
        f"path = pathlib.Path({str(tmp_path / 'made.parquet')!r}); table = read_table(path);"
        "assert read_parquet(path).equals(table);"
        "print(as_array(table['right']), as_array(table['margin']));"
        "print([name for name in ('pandas', 'pyarrow.compute') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "[ True False] [ 1.5 -2. ]\n[]\n"
