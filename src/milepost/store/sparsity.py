"""Keep the zeros of a model's layers with its results, so that pages can show them without the weights.

store/sparsity/<model_id>.json
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict

from milepost.errors import ResultsError
from milepost.store import file_state
from milepost.store.atomic_files import read_json, write_json
from milepost.store.folder import ResultsFolder
from milepost.types.sparsity import LayerSparsity, Sparsity


def keep_sparsity(results: ResultsFolder, model_id: str, counted: Sparsity) -> None:
    """Write the zeros of a model; results that cannot be written are left as they are."""
    path = results.sparsity_path(model_id)
    if not file_state.exists(path):
        with contextlib.suppress(ResultsError):
            write_json(path, asdict(counted))


def read_sparsity(results: ResultsFolder, model_id: str) -> Sparsity | None:
    """Return the zeros of a model; None where nobody counted them, or the record is damaged."""
    path = results.sparsity_path(model_id)
    if not file_state.exists(path):
        return None
    try:
        found = read_json(path)
        head = found.pop("head")
        return Sparsity(
            **{
                **found,
                "layers": tuple(_layer(layer) for layer in found["layers"]),
                "head": None if head is None else _layer(head),
            }
        )
    except (ResultsError, KeyError, TypeError, AttributeError):
        return None


def _layer(found: dict[str, object]) -> LayerSparsity:
    shape = found.pop("shape")
    return LayerSparsity(**{**found, "shape": tuple(shape)})  # type: ignore[arg-type]
