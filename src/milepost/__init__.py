"""Milepost measures every checkpoint of a language model.

    import milepost

    results = milepost.evaluate("runs/my-500m", "arc_easy,mmlu", output_path="results")
    results.plot("curve.png")

The names in `__all__` are the library; everything else may change. Names are imported on first use, so that
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
from milepost.types.checkpoints import Checkpoint, Series
from milepost.version import __version__

if TYPE_CHECKING:
    from milepost.api.compare import compare
    from milepost.api.evaluate import evaluate, save_plan
    from milepost.api.perplexity import measure_perplexity
    from milepost.api.results import Results, open_results
    from milepost.api.watch import watch
    from milepost.run.config import EvalConfig
    from milepost.sources import Steps, discover

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "EvalConfig",
    "MilepostError",
    "Results",
    "ResultsError",
    "Series",
    "SourceError",
    "Steps",
    "TaskError",
    "TokenizerError",
    "__version__",
    "compare",
    "discover",
    "evaluate",
    "measure_perplexity",
    "open_results",
    "save_plan",
    "watch",
]

_LATER = {
    "EvalConfig": "milepost.run.config",
    "Results": "milepost.api.results",
    "Steps": "milepost.sources",
    "compare": "milepost.api.compare",
    "discover": "milepost.sources",
    "evaluate": "milepost.api.evaluate",
    "measure_perplexity": "milepost.api.perplexity",
    "open_results": "milepost.api.results",
    "save_plan": "milepost.api.evaluate",
    "watch": "milepost.api.watch",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'milepost' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
