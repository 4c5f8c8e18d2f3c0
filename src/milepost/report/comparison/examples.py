"""Docs that a model lost or gained, for people to read: question, choices, both answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from milepost.analysis.changed_docs import ChangedDoc, changed_docs, tasks_behind
from milepost.analysis.matching import MatchedModels
from milepost.analysis.verdicts import MetricDifference
from milepost.report.formatting import number, printable_lines
from milepost.report.table import grouped
from milepost.text.language import Phrase
from milepost.text.safe_text import printable
from milepost.types.answers import DocAnswer, ModelAnswers

LONGEST_QUESTION = 600
"""Characters; the end of a prompt is shown, which is the question itself."""
LONGEST_ANSWER = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A doc with both answers."""

    task: str
    doc_id: int
    question: str
    choices: tuple[str, ...]
    """Empty where the model wrote freely, or a text was scored."""
    target: str
    """The right answer, as the task says it; empty where there is none."""
    original_answer: str
    other_answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Some docs of one compared task, and how many there are."""

    task: str
    n_lost: int
    """Docs on which the other model does worse."""
    n_gained: int
    lost: tuple[Example, ...]
    gained: tuple[Example, ...]
    lost_ids: dict[str, list[int]]
    """Task to the docs lost, by their places in the original's split."""
    gained_ids: dict[str, list[int]]


def find_examples(matched: MatchedModels, compared: MetricDifference, count: int) -> Examples:
    """Return the docs that changed most in a compared metric, at most `count` each way, with both answers.

    Raises:
        ResultsError: a damaged record.
    """
    changed = changed_docs(matched, compared)
    lost, gained = changed.lost.first(count), changed.gained.first(count)
    shown = iter(_examples(matched, compared, [*lost, *gained]))
    return Examples(
        task=compared.task,
        n_lost=len(changed.lost),
        n_gained=len(changed.gained),
        lost=tuple(islice(shown, len(lost))),
        gained=tuple(shown),
        lost_ids=changed.lost.ids(),
        gained_ids=changed.gained.ids(),
    )


def _examples(
    matched: MatchedModels, compared: MetricDifference, docs: Sequence[ChangedDoc]
) -> list[Example]:
    before = _answers(matched.original, compared, [(doc.task, doc.original_doc_id) for doc in docs])
    after = _answers(matched.other, compared, [(doc.task, doc.other_doc_id) for doc in docs])
    return [_example(doc, compared, *answers) for doc, *answers in zip(docs, before, after, strict=True)]


def _answers(
    model: ModelAnswers, compared: MetricDifference, docs: Sequence[tuple[str, int]]
) -> list[DocAnswer]:
    """Return the answers to docs, by their tasks and places; each task's files are read once."""
    tasks = tasks_behind(model, compared)
    found: dict[tuple[str, int], DocAnswer] = {}
    for name, own in grouped(docs, lambda doc: doc[0]).items():
        ids = list(dict.fromkeys(doc_id for _, doc_id in own))
        found |= {(name, answer.doc_id): answer for answer in tasks[name].texts(compared.filter, ids)}
    return [found[doc] for doc in docs]


def _example(doc: ChangedDoc, compared: MetricDifference, before: DocAnswer, after: DocAnswer) -> Example:
    choices = _choices(before)
    values = (doc.original, doc.other)
    answers = [
        _answer(answer, compared.metric, value) for answer, value in zip((before, after), values, strict=True)
    ]
    is_text = len(before.arguments) == 1 and len(before.arguments[0]) == 1
    return Example(
        task=printable(doc.task),
        doc_id=doc.original_doc_id,
        question=_question(before, is_text=is_text),
        choices=choices,
        target="" if is_text else _target(before.target, choices),
        original_answer=answers[0],
        other_answer=answers[1],
    )


def _question(answer: DocAnswer, *, is_text: bool) -> str:
    text = str(answer.arguments[0][0])
    if len(text) <= LONGEST_QUESTION:
        return printable_lines(text)
    return printable_lines(text[:LONGEST_QUESTION] + " …" if is_text else "… " + text[-LONGEST_QUESTION:])


def _choices(answer: DocAnswer) -> tuple[str, ...]:
    """Return the continuations, or the contexts where all continuations are equal (as in winogrande)."""
    if len(answer.arguments) < 2 or not all(_is_scored(request) for request in answer.arguments):
        return ()
    texts = [str(request[1]) for request in answer.arguments]
    if len(set(texts)) == 1:
        texts = [str(request[0]) for request in answer.arguments]
    return tuple(_cut(text.strip()) for text in texts)


def _target(target: str, choices: Sequence[str]) -> str:
    if target.isdigit() and int(target) < len(choices):
        return choices[int(target)]
    return _cut(target.strip())


def _answer(answer: DocAnswer, metric: str, value: float) -> str:
    choices = _choices(answer)
    if choices and len(answer.answers) == len(choices):
        return choices[_picked(answer, metric)]
    first = answer.answers[0] if answer.answers else None
    if isinstance(first, list) and first and isinstance(first[0], str):
        first = first[0]
    if isinstance(first, str):
        return _cut(first.strip()) or Phrase("(nothing)")
    return f"{metric} {number(value, metric)}"


def _picked(answer: DocAnswer, metric: str) -> int:
    """Return the choice with the highest log-likelihood; for `acc_norm` per character, as in lm_eval."""
    scores = [_loglikelihood(each) for each in answer.answers]
    if metric == "acc_norm":
        lengths = [max(1, len(str(request[1]).strip())) for request in answer.arguments]
        scores = [score / length for score, length in zip(scores, lengths, strict=True)]
    return scores.index(max(scores))


def _loglikelihood(answer: Any) -> float:
    return float(answer[0] if isinstance(answer, list) else answer)


def _is_scored(arguments: Sequence[Any]) -> bool:
    return len(arguments) == 2 and isinstance(arguments[1], str)


def _cut(text: str) -> str:
    return printable_lines(text if len(text) <= LONGEST_ANSWER else text[:LONGEST_ANSWER] + " …")
