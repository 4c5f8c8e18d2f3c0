"""Find scored docs that were shown, with their answers, as examples in a prompt.

Told from the stored prompts alone, so it needs neither lm_eval nor the data. An example is what a doc's own
question and right answer would read like in a prompt; it leaks if it stands among the examples of any prompt
of the task.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_DELIMITER = "\n\n"


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of a task's prompts (lm_eval's task config)."""

    example_delimiter: str = DEFAULT_DELIMITER
    answer_delimiter: str = " "
    description: str = ""


@dataclass(frozen=True, slots=True)
class Leak:
    """A doc that is scored, among the examples of a prompt."""

    shown_doc: int
    in_prompt_of: int


def draws_from_what_it_scores(config: Mapping[str, Any]) -> bool:
    """Return whether a task draws its examples from the split that it scores.

    Source: lm_eval/api/task.py, `ConfigurableTask.fewshot_docs` and `eval_docs`.
    """
    own = config.get("fewshot_config") or {}
    if own.get("samples") is not None:
        return False  # written into the task's file
    scored = config.get("test_split") or config.get("validation_split")
    splits = ("fewshot_split", "training_split", "validation_split", "test_split")
    drawn_from = own.get("split") or next((config[name] for name in splits if config.get(name)), None)
    return bool(drawn_from == scored)


def find_leaks(docs: Iterable[Mapping[str, Any]], layout: Layout) -> list[Leak]:
    """Return the docs of a task that its prompts show, each once, with the first prompt that shows it.

    Args:
        docs: rows as the store keeps them: `doc_id`, `doc`, `target` and `arguments`.
    """
    rows = [_Doc.read(row, layout) for row in docs]
    example_of: dict[str, int] = {}
    for row in rows:
        for example in row.as_example:
            example_of.setdefault(example, row.doc_id)
    lengths = {len(example.split(layout.example_delimiter)) for example in example_of}
    found: dict[int, Leak] = {}
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        if row.examples in seen:  # the same few examples before every question
            continue
        seen.add(row.examples)
        for text in _runs(row.examples, lengths, layout.example_delimiter):
            if text in example_of:
                found.setdefault(example_of[text], Leak(example_of[text], row.doc_id))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Doc:
    """A doc's prompt, split into the part before its question and the question."""

    doc_id: int
    examples: tuple[str, ...]
    """The parts before the question, stripped."""
    as_example: tuple[str, ...]
    """Question and right answer, as another prompt would show them; several if the answer is not plain."""

    @classmethod
    def read(cls, row: Mapping[str, Any], layout: Layout) -> _Doc:
        requests = [arguments for arguments in json.loads(row["arguments"]) if len(arguments) > 1]
        fields = list(_texts(json.loads(row["doc"])))
        before: tuple[str, ...] = ()
        written = []
        for context, continuation in _right(requests, str(row["target"]), layout):
            before, question = _cut(context, fields, layout)
            written.append((question + continuation).strip())
        return cls(row["doc_id"], before, tuple(dict.fromkeys(text for text in written if text)))


def _right(requests: Sequence[Sequence[Any]], target: str, layout: Layout) -> list[tuple[str, str]]:
    """(context, continuation) of the right answer; of all that read like it, where several do."""
    if target.isdigit() and len(requests) > 1 and int(target) < len(requests):
        chosen = [requests[int(target)]]
    else:
        chosen = [one for one in requests if isinstance(one[1], str) and one[1].strip() == target.strip()]
    if chosen:
        return [(str(one[0]), str(one[1])) for one in chosen]
    return [(str(one[0]), layout.answer_delimiter + target) for one in requests[:1]]


def _cut(context: str, fields: Sequence[str], layout: Layout) -> tuple[tuple[str, ...], str]:
    """Return the parts of a prompt before its own question, and the question.

    The question is what follows the last delimiter; a field of the doc that holds one belongs to it whole.
    """
    if layout.description and context.startswith(layout.description):
        context = context[len(layout.description) :]
    delimiter = layout.example_delimiter
    start = context.rfind(delimiter) + len(delimiter) if delimiter and delimiter in context else 0
    for field in fields:
        at = context.rfind(field) if delimiter in field else -1
        if 0 <= at < start <= at + len(field):
            earlier = context.rfind(delimiter, 0, at)
            start = earlier + len(delimiter) if earlier >= 0 else 0
    before = context[:start].split(delimiter) if delimiter else []
    return tuple(part.strip() for part in before), context[start:]


def _runs(parts: Sequence[str], lengths: Iterable[int], delimiter: str) -> Iterator[str]:
    """Yield all joined sequences of neighbouring parts, because an example may contain a delimiter."""
    for length in lengths:
        for first in range(len(parts) - length + 1):
            yield delimiter.join(parts[first : first + length]).strip()


def _texts(value: Any) -> Iterator[str]:
    """Yield the strings in a doc, at every depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
