"""Read the docs of a task as lm_eval does, once for all checkpoints."""

from __future__ import annotations

from typing import Any

from lm_eval.evaluator_utils import get_sample_size

from milepost.tasks.lm_eval.loading import LoadedTasks
from milepost.tasks.lm_eval.main_thread import has_own_code

MOST_KEPT = 200_000
"""Docs of a task that are kept in memory; the docs of a larger task are read each time."""


def docs_of(loaded: LoadedTasks, name: str) -> list[tuple[int, Any]]:
    """Return each evaluated doc with lm_eval's number of it.

    The docs are kept in memory unless code of the task, which might change them, sees them.
    """
    kept = loaded.kept_docs.get(name)
    if kept is not None:
        return kept
    task, settings = loaded.tasks[name], loaded.settings
    limit = get_sample_size(task, settings.limit)
    docs = list(task.doc_iterator(limit=limit, samples=settings.samples_of(name)))
    if len(docs) <= MOST_KEPT and not has_own_code(task):
        loaded.kept_docs[name] = docs
    return docs
