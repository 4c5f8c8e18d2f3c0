"""`compute_metrics`: what `milepost metrics` does, as a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.buckets import as_path

if TYPE_CHECKING:
    from milepost.run.metrics.later_metrics import LaterMetrics


def compute_metrics(
    results: str | Path,
    *,
    include_path: str | Path | None = None,
    allow_task_code: bool = False,
    verbosity: str = "WARNING",
    say: Callable[[str], None] = lambda line: None,
) -> LaterMetrics:
    """Compute, from the scores of a results folder, the metrics that are lacking.

    Needs lm_eval and the tasks' data, and neither weights nor a tokenizer.

    Args:
        results: the folder, such as one that a run without lm_eval has filled.
        include_path: where tasks of your own are, if elsewhere than when the scores were made.
        allow_task_code: let YAML of `include_path` run Python code (`!function`).
        verbosity: a logging level.
        say: told a line for each checkpoint.

    Raises:
        MilepostError: something the caller can mend, with a hint.
    """
    from milepost.run.display.journal import Journal, parse_level
    from milepost.run.metrics.later_metrics import compute_later

    with Journal(parse_level(verbosity)) as journal:
        return compute_later(
            as_path(results),
            journal,
            say,
            include_path=None if include_path is None else Path(include_path),
            allow_task_code=allow_task_code,
        )
