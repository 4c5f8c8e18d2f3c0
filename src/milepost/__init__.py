"""Milepost measures every checkpoint of a language model.

    import milepost

    results = milepost.evaluate("runs/my-500m", "arc_easy,mmlu", output_path="results")
    results.plot("curve.png")

What is listed here is the library; everything else may change. Names are imported when first used, so that
`import milepost` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from milepost.errors import (
    CheckpointError,
    MilepostError,
    ResultsError,
    SourceError,
    TaskError,
    TokenizerError,
)
from milepost.types import Checkpoint, Series
from milepost.version import __version__

if TYPE_CHECKING:
    from milepost.library import Results, evaluate
    from milepost.sources import Steps, discover

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "MilepostError",
    "Results",
    "ResultsError",
    "Series",
    "SourceError",
    "Steps",
    "TaskError",
    "TokenizerError",
    "__version__",
    "discover",
    "evaluate",
]

_LATER = {
    "Results": "milepost.library",
    "evaluate": "milepost.library",
    "Steps": "milepost.sources",
    "discover": "milepost.sources",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'milepost' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
