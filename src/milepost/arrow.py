"""Arrow columns as numpy arrays and back, and Parquet files, without what pyarrow imports on the way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa


def read_parquet(path: Path) -> pa.Table:
    """A Parquet file, mapped into memory.

    pyarrow's own `read_table` imports pyarrow.dataset and pandas.

    Raises:
        OSError, pa.ArrowException: there is none, or it is damaged.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=True) as file:
        table: pa.Table = file.read()
    return table


def as_array(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[Any]:
    """A column of numbers or bools without nulls as an array.

    pyarrow's own `to_numpy` imports pandas, and its `cast` all of pyarrow.compute, which take longer than
    reading a million rows.
    """
    import numpy as np
    import pyarrow as pa

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_boolean(array.type):
        bits = np.unpackbits(np.frombuffer(array.buffers()[1] or b"", dtype=np.uint8), bitorder="little")
        return bits[array.offset : array.offset + len(array)].astype(np.bool_)
    numbers: npt.NDArray[Any] = np.from_dlpack(array)
    return numbers


def as_column(array: npt.NDArray[Any]) -> pa.Array:
    """An array [N] of numbers or bools as a column; pyarrow's own `array` imports pandas."""
    import numpy as np
    import pyarrow as pa

    of_bits = array.dtype == np.bool_
    data = np.packbits(array, bitorder="little") if of_bits else np.ascontiguousarray(array)
    return pa.Array.from_buffers(pa.from_numpy_dtype(array.dtype), len(array), [None, pa.py_buffer(data)])
