"""Write and read Parquet files with a checksum, their own name and a note of how they were made."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from milepost.buckets import in_bucket
from milepost.errors import ResultsError
from milepost.files.arrow import as_array
from milepost.store import confinement, file_state
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import check_name, damaged, record_name, write_atomically
from milepost.store.checksum import OPEN, is_sealed, seal
from milepost.text.credentials import redacted

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from typing_extensions import Unpack

CHECKSUM_KEY = "milepost"
MADE_KEY = "milepost.made"
NAME_KEY = "milepost.record"
PARQUET_END = b"PAR1"
LARGE = 100_000
"""Rows; a smaller table is read by one thread, as handing it to several takes longer."""
ROWS_AT_ONCE = 256
"""Rows of a large table that are in memory at once where only some are wanted."""


class TableForm(TypedDict, total=False):
    """Options of writing a table."""

    name: str
    """Name of the record; by default from its path."""
    compression: str
    """`zstd` by default. `lz4` for numbers that are read for a whole series at once takes half the time."""
    group: int
    """Rows that are found without reading those before them; by default all of them together."""


def write_table(
    path: Path, table: pa.Table, made: Mapping[str, Any] | None = None, **form: Unpack[TableForm]
) -> None:
    """Write a Parquet file atomically; `made` is kept as JSON in its metadata.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    write_atomically(path, table_bytes(path, table, made, **form))


def table_bytes(
    path: Path, table: pa.Table, made: Mapping[str, Any] | None = None, **form: Unpack[TableForm]
) -> bytes:
    """Return the sealed Parquet file that `write_table` writes to `path`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    # A dictionary of numbers is larger than they are, and takes most of the time that writing them does.
    words = (pa.types.is_dictionary, pa.types.is_string)
    of_words = [one.name for one in table.schema if any(kind(one.type) for kind in words)]
    compression = form.get("compression", "zstd")
    with pq.ParquetWriter(sink, table.schema, compression=compression, use_dictionary=of_words) as writer:
        writer.write_table(table, row_group_size=form.get("group"))
        told = {MADE_KEY: json.dumps(redacted(made or {})), CHECKSUM_KEY: OPEN.decode()}
        if name := form.get("name") or record_name(path):
            told[NAME_KEY] = name
        writer.add_key_value_metadata(told)
    return seal(sink.getvalue().to_pybytes())


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, or some of its columns.

    Raises:
        ResultsError: it is missing, damaged, or the record of another place.
    """
    with _opened(path) as file:
        return file.read(columns=columns, use_threads=file.metadata.num_rows > LARGE)


def read_rows(path: Path, key: str, wanted: Collection[int], columns: Sequence[str]) -> dict[int, Any]:
    """Read the rows of a Parquet file whose number in the column `key` is wanted.

    Of a large table a few hundred rows are in memory at once.

    Returns:
        Number to row, a mapping of the columns; of rows with the same number, the last.

    Raises:
        ResultsError: as of `read_table`.
    """
    import numpy as np

    numbers = np.array(sorted(wanted), np.int64)
    found: dict[int, Any] = {}
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            there = np.isin(as_array(file.read_row_group(group, [key])[key]), numbers)
            first = 0
            for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=[key, *columns]):
                if not there[first:].any():
                    break
                # Not batch.filter, which imports pyarrow.compute for longer than reading the file takes.
                for place in np.flatnonzero(there[first : first + len(batch)]).tolist():
                    found |= {row[key]: row for row in batch.slice(place, 1).to_pylist()}
                first += len(batch)
    return found


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file whose checksum and name are right; an error while it is read names it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        data = inside.read_bytes(path)
        if not is_sealed(data):
            raise ResultsError("it has no checksum")
        # Not pq.read_table, which imports pandas for a second.
        file = pq.ParquetFile(pa.BufferReader(data))
        name = (file.metadata.metadata or {}).get(NAME_KEY.encode())
        check_name(path, name and name.decode())
        yield file
    except (OSError, pa.ArrowException, ResultsError, KeyError) as error:
        raise damaged(path, error) from error


def copy_table(path: Path, to: Path) -> bool:
    """Copy a file that `write_table` wrote to the place of its record, byte for byte.

    Returns:
        False if the file is missing, damaged, or another record.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        data = inside.read_bytes(path)
        metadata = pq.read_metadata(pa.BufferReader(data)).metadata or {}
        name = metadata.get(NAME_KEY.encode(), b"").decode()
        if not is_sealed(data) or name != record_name(to):
            return False
    except (OSError, pa.ArrowException, ResultsError):
        return False
    write_atomically(to, data)
    return True


def read_made(path: Path) -> dict[str, Any]:
    """Return the note that was given to `write_table` as `made`; only the file's footer is read.

    Raises:
        ResultsError: it is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        confinement.check(path)
        source = pa.BufferReader(inside.read_bytes(path)) if in_bucket(path) else path
        metadata = pq.read_metadata(source).metadata or {}
    except (OSError, pa.ArrowException, ResultsError) as error:
        raise damaged(path, error) from error
    made: dict[str, Any] = json.loads(metadata.get(MADE_KEY.encode(), b"{}"))
    return made


def looks_whole(path: Path) -> bool:
    """Return whether a Parquet file is there and has its end, which one that was cut short lacks.

    `read_table` checks the checksum; this check is cheap enough for every file of a large folder.
    """
    if not file_state.is_file(path):
        return False
    if in_bucket(path):
        return True  # an object is there whole or not at all
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - len(PARQUET_END)))
            return file.read() == PARQUET_END
    except FileNotFoundError:
        return False
