"""The docs of a task as lm_eval iterates over them, read once for all checkpoints."""

from __future__ import annotations

from typing import Any

from lm_eval.evaluator_utils import get_sample_size

from milepost.tasks.lm_eval.loading import LoadedTasks
from milepost.tasks.lm_eval.main_thread import brings_code

MOST_KEPT = 200_000
"""Docs of a task that are kept in memory; those of a larger one are read each time."""


def docs_of(loaded: LoadedTasks, name: str) -> list[tuple[int, Any]]:
    """lm_eval's number of each doc that is asked, and the doc itself.

    They are kept where only lm_eval's own code sees them, as a task's might change them.
    """
    kept = loaded.kept_docs.get(name)
    if kept is not None:
        return kept
    task, settings = loaded.tasks[name], loaded.settings
    limit = get_sample_size(task, settings.limit)
    docs = list(task.doc_iterator(limit=limit, samples=settings.samples_of(name)))
    if len(docs) <= MOST_KEPT and not brings_code(task):
        loaded.kept_docs[name] = docs
    return docs
