"""What guessing would score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from milepost.tasks.lm_eval.docs import docs_of
from milepost.tasks.lm_eval.loading import LoadedTasks

GUESSABLE = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")


def chance_levels(loaded: LoadedTasks, name: str) -> Mapping[str, float]:
    """By metric, the expected score of a uniform guess among each doc's choices.

    Only for multiple-choice tasks that lm_eval itself scores: a task with its own `process_results` may count
    anything, and a log-likelihood task has no choices to guess among. With several right choices each counts.

    The levels of a task are computed once, as no checkpoint changes them.
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
