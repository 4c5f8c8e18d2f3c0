"""Compute the accuracy of guessing at random."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from milepost.tasks.lm_eval.docs import docs_of
from milepost.tasks.lm_eval.loading import LoadedTasks

GUESSABLE = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")


def chance_levels(loaded: LoadedTasks, name: str) -> Mapping[str, float]:
    """Return the expected value of a uniform guess among each doc's choices, by metric.

    A doc with several right choices counts each of them. Empty for a task that is not multiple choice, and
    for one with its own `process_results`, whose metrics may mean anything. Computed once for all
    checkpoints.
    """
    if name not in loaded.kept_chances:
        loaded.kept_chances[name] = _levels(loaded, name)
    return loaded.kept_chances[name]


def _levels(loaded: LoadedTasks, name: str) -> Mapping[str, float]:
    task = loaded.tasks[name]
    if task.OUTPUT_TYPE != "multiple_choice" or callable(task.get_config("process_results")):
        return {}
    shares = []
    for _, doc in docs_of(loaded, name):
        n_choices = len(task.doc_to_choice(doc))
        target = task.doc_to_target(doc) if task.multiple_target else None
        n_right = len(set(target)) if isinstance(target, list) else 1
        shares.append(n_right / n_choices)
    level = float(np.mean(shares))
    return {metric: level for metric in GUESSABLE if metric in task.aggregation()}
