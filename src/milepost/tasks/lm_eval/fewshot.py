"""Few-shot prompts of tasks written in Python, which lm_eval 0.4.13 asks in a way they do not understand.

`ConfigurableTask.fewshot_context` calls `doc_to_text(doc, field)` for each example, with the few-shot
config's own field; a class such as squadv2's `SQuAD2` overrides `doc_to_text(self, doc)`, and lm_eval ends in
a TypeError. Such a class says itself how a doc becomes text, so the second argument has nothing to tell it.
Its targets begin with the space that lm_eval's delimiter puts before them too; one of the two is enough.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

OVERRIDDEN = ("doc_to_text", "doc_to_target", "doc_to_choice")


def accept_fewshot_fields(task: Any) -> None:
    """Make a task whose class renders docs itself take, and ignore, the fields that lm_eval passes."""
    fewshot = getattr(task, "fewshot_cfg", None)
    if fewshot is None:
        return
    for name in OVERRIDDEN:
        method = getattr(task, name)
        if _takes_doc_only(method):
            delimiter = fewshot.target_delimiter if name == "doc_to_target" else None
            setattr(task, name, _ignoring_field(method, delimiter or ""))


def _takes_doc_only(method: Callable[..., Any]) -> bool:
    parameters = inspect.signature(method).parameters.values()
    return len([one for one in parameters if one.kind is not inspect.Parameter.KEYWORD_ONLY]) == 1


def _ignoring_field(method: Callable[[Any], Any], delimiter: str) -> Callable[..., Any]:
    """`method` for one doc; called with a few-shot field, without the delimiter that will precede it."""

    @functools.wraps(method)
    def rendered(doc: Any, *field: Any) -> Any:
        text = method(doc)
        return text.removeprefix(delimiter) if field and isinstance(text, str) else text

    return rendered
