"""List the docs that a model lost or gained: the questions behind a difference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from milepost.analysis.matching import common_docs, task_doc_values
from milepost.analysis.verdicts import MetricDifference
from milepost.types.answers import ModelAnswers, TaskAnswers


class ChangedDoc(NamedTuple):
    """One doc with different values for two models."""

    task: str
    original_doc_id: int
    other_doc_id: int
    """Position of the doc in the other result's split, which may be of another version."""
    original: float
    """The metric over this doc alone."""
    other: float


class ChangedDocs(NamedTuple):
    """The docs behind a difference."""

    lost: list[ChangedDoc]
    """Docs on which the other model is worse: the largest loss first, then in the order of the split."""
    gained: list[ChangedDoc]


def changed_docs(original: ModelAnswers, other: ModelAnswers, difference: MetricDifference) -> ChangedDocs:
    """Return all docs with different values of a compared metric; for a group, the docs of its tasks."""
    tasks, other_tasks = (tasks_behind(model, difference) for model in (original, other))
    changed = [
        doc
        for name, task in tasks.items()
        if name in other_tasks
        for doc in _changed_docs_of_task(task, other_tasks[name], difference.metric, difference.filter)
    ]
    sign = -1.0 if difference.higher_is_better is False else 1.0
    lost = [doc for doc in changed if sign * (doc.other - doc.original) < 0]
    gained = [doc for doc in changed if sign * (doc.other - doc.original) > 0]
    lost.sort(key=lambda doc: sign * (doc.other - doc.original))
    gained.sort(key=lambda doc: -sign * (doc.other - doc.original))
    return ChangedDocs(lost, gained)


def tasks_behind(model: ModelAnswers, difference: MetricDifference) -> dict[str, TaskAnswers]:
    """Return the tasks behind a compared metric, with the docs of that metric."""
    if difference.kind == "group" and difference.task in model.groups:
        return dict(model.groups[difference.task].members)
    return {task.name: task for label, task in model.tasks.items() if label == difference.task}


def _changed_docs_of_task(
    original: TaskAnswers, other: TaskAnswers, metric: str, filter: str
) -> Iterator[ChangedDoc]:
    import numpy as np

    before, after = (task_doc_values(task, metric, filter) for task in (original, other))
    if before is None or after is None:
        return
    common = common_docs(original.doc_hashes, other.doc_hashes)
    before, after = before.of(common.original), after.of(common.other)
    with np.errstate(over="ignore"):  # a doc that a broken model finds impossible
        old, new = before.transform(before.values), after.transform(after.values)
    for place in np.flatnonzero(np.abs(new - old) > 0):
        yield ChangedDoc(
            original.name,
            original.doc_ids[common.original[place]],
            other.doc_ids[common.other[place]],
            float(old[place]),
            float(new[place]),
        )
