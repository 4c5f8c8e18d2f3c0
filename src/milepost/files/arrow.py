"""Read Parquet files and convert Arrow columns to numpy and back, without pyarrow's slow imports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa


def read_parquet(path: Path) -> pa.Table:
    """Read a Parquet file, mapped into memory; pyarrow's `read_table` imports pyarrow.dataset and pandas.

    Raises:
        OSError, pa.ArrowException: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=True) as file:
        table: pa.Table = file.read()
    return table


def write_mappable(table: pa.Table, path: Path) -> None:
    """Write a table for `read_mapped`: uncompressed, so that processes can share its pages."""
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def read_mapped(path: Path) -> pa.Table:
    """Return a table whose columns lie in the file, mapped into memory.

    Raises:
        OSError, pa.ArrowException: the file is missing or damaged.
    """
    import pyarrow as pa

    with pa.ipc.open_file(pa.memory_map(str(path))) as file:
        return file.read_all()


def as_array(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[Any]:
    """Return a column of numbers or bools without nulls as an array.

    pyarrow's `to_numpy` imports pandas, and `cast` imports pyarrow.compute; both take longer than reading a
    million rows.
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
    """Return an array [N] of numbers or bools as a column; pyarrow's `array` imports pandas."""
    import numpy as np
    import pyarrow as pa

    of_bits = array.dtype == np.bool_
    data = np.packbits(array, bitorder="little") if of_bits else np.ascontiguousarray(array)
    return pa.Array.from_buffers(pa.from_numpy_dtype(array.dtype), len(array), [None, pa.py_buffer(data)])
