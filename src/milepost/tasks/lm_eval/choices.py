"""Read the choices of multiple-choice docs and the right ones, as lm_eval does.

Source: lm_eval/api/task.py `ConfigurableTask.process_results`, the part for `multiple_choice`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lm_eval.api.task import ConfigurableTask, Task

from milepost.types.choices import Offer


def offers_choices(task: Task) -> bool:
    """Return whether the task is multiple choice and lm_eval itself computes its metrics.

    With its own `process_results` a task may compute anything, and its target need not be a choice
    (truthfulqa_mc2).
    """
    return (
        isinstance(task, ConfigurableTask)
        and task.OUTPUT_TYPE == "multiple_choice"
        and not callable(task.get_config("process_results"))
    )


def offer(task: ConfigurableTask, doc: Any, doc_id: int) -> Offer:
    """Return the choices of one doc, and those that lm_eval counts as right."""
    texts = tuple(str(text) for text in task.doc_to_choice(doc))
    # If the choices stand in the context (winogrande), doc_to_text gives the right one.
    target = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    scored = str(task.doc_to_target(doc)) if task.multiple_input else None
    return Offer(doc_id, texts, _right(target, texts), scored)


def _right(target: Any, texts: tuple[str, ...]) -> tuple[int, ...]:
    if isinstance(target, str):
        return (texts.index(target),) if target in texts else ()
    places = target if isinstance(target, list) else [target]
    # lm_eval compares with ==, so that 1.0 names the same choice as 1.
    named = (
        int(place) for place in places if isinstance(place, int | float | np.number) and place == int(place)
    )
    return tuple(sorted({place for place in named if 0 <= place < len(texts)}))
