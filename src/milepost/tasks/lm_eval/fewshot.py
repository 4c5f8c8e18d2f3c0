"""Make few-shot prompts work for tasks written in Python, which lm_eval 0.4.13 calls wrongly.

`ConfigurableTask.fewshot_context` calls `doc_to_text(doc, field)` for each example; a class such as squadv2's
`SQuAD2` overrides `doc_to_text(self, doc)`, and lm_eval ends in a TypeError. Such a class renders docs itself
and does not need the field. Its targets begin with a space, and so does lm_eval's delimiter before them; one
of the two is removed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

OVERRIDDEN = ("doc_to_text", "doc_to_target", "doc_to_choice")


def accept_fewshot_fields(task: Any) -> None:
    """Let a task whose class renders docs itself ignore the fields that lm_eval passes."""
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
    return sum(parameter.kind is not inspect.Parameter.KEYWORD_ONLY for parameter in parameters) == 1


def _ignoring_field(method: Callable[[Any], Any], delimiter: str) -> Callable[..., Any]:
    """Wrap `method`; a call with a few-shot field removes the delimiter that lm_eval will add."""

    @functools.wraps(method)
    def rendered(doc: Any, *field: Any) -> Any:
        text = method(doc)
        return text.removeprefix(delimiter) if field and isinstance(text, str) else text

    return rendered
