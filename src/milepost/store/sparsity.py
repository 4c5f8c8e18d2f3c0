"""Keep the zeros of a model's layers with its results, so that pages can show them without the weights.

store/sparsity/<model_id>.json
"""

from __future__ import annotations

import contextlib

from milepost.errors import ResultsError
from milepost.store import file_state
from milepost.store.folder import ResultsFolder
from milepost.store.records import read_if_intact, write_record
from milepost.types.sparsity import Sparsity


def keep_sparsity(results: ResultsFolder, model_id: str, counted: Sparsity) -> None:
    """Write the zeros of a model; results that cannot be written are left as they are."""
    path = results.sparsity_path(model_id)
    if not file_state.exists(path):
        with contextlib.suppress(ResultsError):
            write_record(path, counted)


def read_sparsity(results: ResultsFolder, model_id: str) -> Sparsity | None:
    """Return the zeros of a model; None where nobody counted them, or the record is damaged."""
    path = results.sparsity_path(model_id)
    return read_if_intact(Sparsity, path) if file_state.exists(path) else None
