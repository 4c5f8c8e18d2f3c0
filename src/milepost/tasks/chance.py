"""What guessing would score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from lm_eval.evaluator_utils import get_sample_size

from milepost.tasks.loading import LoadedTasks

GUESSABLE = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")


def chance_levels(loaded: LoadedTasks, name: str) -> Mapping[str, float]:
    """By metric, the expected score of a uniform guess among each doc's choices.

    Only for multiple-choice tasks that lm_eval itself scores: a task with its own `process_results` may count
    anything, and a log-likelihood task has no choices to guess among. With several right choices each counts.
    """
    task = loaded.tasks[name]
    if task.OUTPUT_TYPE != "multiple_choice" or callable(task.get_config("process_results")):
        return {}
    limit = get_sample_size(task, loaded.settings.limit)
    shares = []
    for _, doc in task.doc_iterator(limit=limit, samples=loaded.settings.samples_of(name)):
        n_choices = len(task.doc_to_choice(doc))
        target = task.doc_to_target(doc) if task.multiple_target else None
        n_right = len(set(target)) if isinstance(target, list) else 1
        shares.append(n_right / n_choices)
    level = float(np.mean(shares))
    return {metric: level for metric in GUESSABLE if metric in task.aggregation()}
