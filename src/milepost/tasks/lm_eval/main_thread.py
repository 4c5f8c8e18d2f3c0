"""Which tasks count their answers by lm_eval's own code alone.

Code that a task brings along may use what works in the main thread only (minerva_math and math_verify end a
comparison that takes too long by a signal) and may change the docs it is given; lm_eval's own does neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lm_eval.api.task

from milepost.tasks.lm_eval.loading import LoadedTasks

_OWN_MODULES = ("lm_eval.api.", "lm_eval.filters.", "milepost.")


def needs_main_thread(loaded: LoadedTasks) -> bool:
    """Whether metrics of some task may only be computed in the main thread."""
    return any(brings_code(task) for task in loaded.tasks.values())


def brings_code(task: lm_eval.api.task.Task) -> bool:
    """Whether code of the task's own files, or of the library `evaluate`, counts its answers."""
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
