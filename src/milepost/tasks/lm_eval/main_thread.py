"""Find the tasks whose metrics are computed by code other than lm_eval's own.

Such code may need the main thread (minerva_math and math_verify end a slow comparison by a signal) and may
change the docs that it is given; lm_eval's own code does neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lm_eval.api.task

from milepost.tasks.lm_eval.loading import LoadedTasks

_OWN_MODULES = ("lm_eval.api.", "lm_eval.filters.", "milepost.")


def needs_main_thread(loaded: LoadedTasks) -> bool:
    """Return whether the metrics of a task have to be computed in the main thread."""
    return any(has_own_code(task) for task in loaded.tasks.values())


def has_own_code(task: lm_eval.api.task.Task) -> bool:
    """Return whether code of the task's files, or of the library `evaluate`, computes its metrics."""
    if not _is_own(type(task).process_results) or callable(task.get_config("process_results")):
        return True
    functions = [*task.aggregation().values(), *(getattr(task, "_metric_fn_list", None) or {}).values()]
    return not all(map(_is_own, functions)) or _holds_callable(task.get_config("filter_list"))


def _is_own(function: Callable[..., Any]) -> bool:
    module = getattr(getattr(function, "func", function), "__module__", None) or ""
    return module.startswith(_OWN_MODULES)


def _holds_callable(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_callable, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_callable, value))
    return callable(value)
