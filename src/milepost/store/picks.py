"""Write and read the choices of a multiple-choice task, and the picks of each checkpoint, doc by doc.

`choices/<docs_id>.parquet` has a row per choice; `picks/<plan_id>/<model>.parquet` a row per doc of every
task of the plan, task after task: one file per checkpoint, so that a series is read fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.files.arrow import as_array, as_column
from milepost.store.tables import read_made, read_table, write_table
from milepost.types.choices import CHOICE_COLUMNS, Choices

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


PICK_COLUMNS = {
    "pick": "int16",
    "pick_norm": "int16",
    "pick_tokens": "int16",
    "pick_bytes": "int16",
    "right": "bool",
    "right_norm": "bool",
    "right_tokens": "bool",
    "right_bytes": "bool",
    "prob_right": "float32",
    "bpb_right": "float32",
    "margin": "float32",
    "entropy": "float32",
    "confidence": "float32",
}
"""Column to its type; meanings and units as in `analysis.choice_values.DocMetrics`, NaN for no value."""


def write_choices(path: Path, choices: Choices) -> None:
    """Write the choices of one task.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    import pyarrow as pa

    table = pa.table({name: as_column(getattr(choices, name)) for name in CHOICE_COLUMNS})
    write_table(path, table, {"fixed": choices.fixed})


def read_choices(path: Path) -> Choices:
    """Read the choices of one task.

    Raises:
        ResultsError: it is missing or damaged.
    """
    table = read_table(path)
    # Tables of earlier versions have no `scored_bytes`, and are of tasks whose choices are scored themselves.
    known = {name: name if name in table.column_names else "bytes" for name in CHOICE_COLUMNS}
    columns = {name: as_array(table[stored]) for name, stored in known.items()}
    return Choices(**columns, fixed=bool(read_made(path)["fixed"]))


def write_picks(
    path: Path, doc_ids: Mapping[str, npt.NDArray[np.int64]], columns: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write the picks of one checkpoint.

    Args:
        doc_ids: by task, in the order of the plan.
        columns: by task, the arrays [D] that `PICK_COLUMNS` names.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    import numpy as np
    import pyarrow as pa

    tasks = list(doc_ids)
    lengths = [len(doc_ids[task]) for task in tasks]
    codes = np.repeat(np.arange(len(tasks), dtype=np.int16), lengths)
    table = {"task": pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(tasks, pa.string()))}
    table["doc_id"] = np.concatenate([doc_ids[task] for task in tasks])
    for name, dtype in PICK_COLUMNS.items():
        table[name] = np.concatenate([columns[task][name] for task in tasks]).astype(dtype)
    write_table(path, pa.table(table), compression="lz4")


def read_picks(path: Path, columns: Sequence[str]) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Return by task, in the order of the plan, `doc_id` and other columns as arrays [D].

    Args:
        columns: names from `PICK_COLUMNS`.

    Raises:
        ResultsError: it is missing or damaged.
    """
    import numpy as np

    table: pa.Table = read_table(path, ("task", "doc_id", *columns)).combine_chunks()
    names = table["task"].unify_dictionaries().chunk(0)
    codes = as_array(names.indices)
    arrays = {name: as_array(table[name]) for name in ("doc_id", *columns)}
    firsts = np.flatnonzero(np.diff(codes, prepend=-1))
    found = {}
    for first, last in zip(firsts, [*firsts[1:], len(codes)], strict=True):
        task = names.dictionary[int(codes[first])].as_py()
        found[task] = {name: array[first:last] for name, array in arrays.items()}
    return found
