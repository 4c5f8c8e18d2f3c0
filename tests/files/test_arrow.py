"""Columns of Arrow tables as arrays, without pandas and without pyarrow's compute functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from milepost.files.arrow import as_array, as_column, as_table, list_column, text_lists_column
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


@pytest.mark.parametrize(
    "values",
    [
        ["a", "Ünï\n😀", ""],
        ["a", None, "", None, "b", "c", None, "d", "e"],
        [1, -5, 2**40],
        [None, 7, None],
        [0.5, float("nan"), None, -0.0],
        [],
        [None, None],
        [1, 2.5, None],
        [True, False],
        [["a"], []],
    ],
)
def test_a_list_is_the_column_that_pyarrow_makes_of_it(values: list[Any]) -> None:
    found, expected = list_column(values), pa.array(values)
    found.validate(full=True)
    assert found.type == expected.type
    assert found.null_count == expected.null_count
    assert repr(found.to_pylist()) == repr(expected.to_pylist())


@pytest.mark.parametrize("values", [[["a", "b"], None, [], ["Ü"]], [None], [[]], []])
def test_lists_of_texts_are_the_column_that_pyarrow_makes_of_them(values: list[Any]) -> None:
    found = text_lists_column(values)
    found.validate(full=True)
    assert found.equals(pa.array(values, pa.list_(pa.string())))


def test_a_table_of_arrays_and_lists_is_the_one_that_pyarrow_makes() -> None:
    columns = {"id": np.arange(3), "text": ["a", None, "b"], "made": pa.array([1.5, None, 2.0])}
    assert as_table(columns).equals(pa.table(columns))


def test_making_tables_imports_no_pandas() -> None:
    asked = (
        "import sys; import numpy as np; from milepost.files.arrow import as_table, text_lists_column;"
        "from milepost.store.tables import table_bytes; from pathlib import Path;"
        "columns = {'a': ['x', None], 'b': [0.5, None], 'c': [1, 2], 'd': np.arange(2)};"
        "table = as_table({**columns, 'e': text_lists_column([['x'], None])});"
        "table_bytes(Path('made.parquet'), table);"
        "print(table.num_rows, [name for name in ('pandas', 'pyarrow.compute') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n"


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
