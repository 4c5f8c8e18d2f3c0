"""Which answers a multiple-choice task offers and which of them are right, read as lm_eval reads them.

Source: lm_eval/api/task.py `ConfigurableTask.process_results`, the part for `multiple_choice`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lm_eval.api.task import ConfigurableTask, Task

from milepost.types import Offer


def offers_choices(task: Task) -> bool:
    """Whether the task is of multiple choice and scored by lm_eval itself.

    A task with its own `process_results` may count anything, and what it calls its target need not be a
    choice (truthfulqa_mc2 names none).
    """
    return (
        isinstance(task, ConfigurableTask)
        and task.OUTPUT_TYPE == "multiple_choice"
        and not callable(task.get_config("process_results"))
    )


def offer(task: ConfigurableTask, doc: Any, doc_id: int) -> Offer:
    """The choices of one doc, and which of them lm_eval counts as right."""
    texts = tuple(str(text) for text in task.doc_to_choice(doc))
    # A task whose choices stand in the context (winogrande) says with its text which of them is right.
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
