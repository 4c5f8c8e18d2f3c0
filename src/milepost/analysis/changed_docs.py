"""Which docs a model lost or gained: the questions behind a difference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from milepost.analysis.comparison import MetricDifference
from milepost.analysis.doc_values import read_values
from milepost.analysis.matching import common_docs
from milepost.store.doc_records import ModelAnswers, TaskAnswers


class ChangedDoc(NamedTuple):
    """One doc that counts differently for two models."""

    task: str
    original_doc_id: int
    other_doc_id: int
    """Its place in the other result's split, which may be of another version."""
    original: float
    """The figure over this doc alone."""
    other: float


class ChangedDocs(NamedTuple):
    """The docs behind a difference."""

    lost: list[ChangedDoc]
    """Where the other model does worse: the largest loss first, of equal ones in the order of the split."""
    gained: list[ChangedDoc]


def changed_docs(original: ModelAnswers, other: ModelAnswers, compared: MetricDifference) -> ChangedDocs:
    """All docs that count differently in a compared figure; of a group, those of its tasks."""
    ours, theirs = (_tasks_of(model, compared) for model in (original, other))
    key = compared.metric, compared.filter
    changed = [
        doc for name, task in ours.items() if name in theirs for doc in _of_task(task, theirs[name], key)
    ]
    sign = -1.0 if compared.higher_is_better is False else 1.0
    lost = [doc for doc in changed if sign * (doc.other - doc.original) < 0]
    gained = [doc for doc in changed if sign * (doc.other - doc.original) > 0]
    lost.sort(key=lambda doc: sign * (doc.other - doc.original))
    gained.sort(key=lambda doc: -sign * (doc.other - doc.original))
    return ChangedDocs(lost, gained)


def _tasks_of(model: ModelAnswers, compared: MetricDifference) -> dict[str, TaskAnswers]:
    """The tasks behind a compared figure, with the docs that it is of."""
    if compared.kind == "group" and compared.task in model.groups:
        return model.members(compared.task)
    return {name: task for name, task in model.tasks.items() if name == compared.task}


def _of_task(original: TaskAnswers, other: TaskAnswers, key: tuple[str, str]) -> Iterator[ChangedDoc]:
    import numpy as np

    both = []
    for task in (original, other):
        stored = next((one.value for one in task.measurements if (one.metric, one.filter) == key), None)
        raw = task.values.get(key)
        values = None if stored is None or raw is None else read_values(raw, stored)
        if values is None:
            return
        both.append(values)
    common = common_docs(original.doc_hashes, other.doc_hashes)
    before, after = both[0].of(common.original), both[1].of(common.other)
    with np.errstate(over="ignore"):  # a doc that a broken model finds impossible
        figures = before.transform(before.values), after.transform(after.values)
    for place in np.flatnonzero(np.abs(figures[1] - figures[0]) > 0):
        yield ChangedDoc(
            original.name,
            original.doc_ids[common.original[place]],
            other.doc_ids[common.other[place]],
            float(figures[0][place]),
            float(figures[1][place]),
        )
