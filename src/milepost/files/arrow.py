"""Read Parquet files, and make Arrow columns and read them, without pyarrow's slow imports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def as_table(columns: Mapping[str, npt.NDArray[Any] | Sequence[Any] | pa.Array]) -> pa.Table:
    """Return columns as `pyarrow.table` does, which imports pandas to look whether a list is a series."""
    import numpy as np
    import pyarrow as pa

    return pa.table(
        {
            name: values
            if isinstance(values, pa.Array)
            else as_column(values)
            if isinstance(values, np.ndarray)
            else list_column(values)
            for name, values in columns.items()
        }
    )


def list_column(values: Sequence[Any]) -> pa.Array:
    """Return texts or numbers, some of them None, as the column that `pyarrow.array` makes.

    What is of another kind, or mixed, is left to `pyarrow.array`.
    """
    import numpy as np
    import pyarrow as pa

    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {str}:
        return _texts(values)
    if kinds in ({float}, {int}):
        numbers = np.array([0 if value is None else value for value in values], dtype=_NUMPY[kinds.pop()])
        column = as_column(numbers)
        return pa.Array.from_buffers(column.type, len(values), [_present(values), column.buffers()[1]])
    return pa.array(values)


def text_lists_column(values: Sequence[Sequence[str] | None]) -> pa.Array:
    """Return lists of texts, some of them None, as a column."""
    import numpy as np
    import pyarrow as pa

    flat = _texts([text for texts in values for text in texts or ()])
    ends = np.cumsum([len(texts or ()) for texts in values], dtype=np.int64)
    buffers = [_present(values), _offsets(ends)]
    return pa.Array.from_buffers(pa.list_(pa.string()), len(values), buffers, children=[flat])


_NUMPY = {float: "float64", int: "int64"}


def _texts(values: Sequence[str | None]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    encoded = [(value or "").encode() for value in values]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    if len(ends) and ends[-1] > np.iinfo(np.int32).max:
        return pa.array(values, pa.string())  # in chunks
    data = pa.py_buffer(b"".join(encoded))
    return pa.Array.from_buffers(pa.string(), len(values), [_present(values), _offsets(ends), data])


def _offsets(ends: npt.NDArray[Any]) -> pa.Buffer:
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.concatenate([[0], ends]).astype(np.int32))


def _present(values: Sequence[Any]) -> pa.Buffer | None:
    """Return a bit for each value that is there; None where all are."""
    import numpy as np
    import pyarrow as pa

    if None not in values:
        return None
    return pa.py_buffer(np.packbits([value is not None for value in values], bitorder="little"))
