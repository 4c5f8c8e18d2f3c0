"""List the docs that a model lost or gained: the questions behind a difference.

Shapes: N docs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from milepost.analysis.matching import MatchedModels
from milepost.analysis.verdicts import MetricDifference
from milepost.types.answers import ModelAnswers, TaskAnswers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class ChangedDoc(NamedTuple):
    """One doc with different values for two models."""

    task: str
    original_doc_id: int
    other_doc_id: int
    """Position of the doc in the other result's split, which may be of another version."""
    original: float
    """The metric over this doc alone."""
    other: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DocList:
    """Docs of some tasks: the largest change first, then in the order of tasks and splits."""

    tasks: tuple[str, ...]
    task: npt.NDArray[np.int64]
    """[N] numbers of tasks."""
    original_doc_id: npt.NDArray[np.int64]
    """[N]"""
    other_doc_id: npt.NDArray[np.int64]
    """[N]"""
    original: npt.NDArray[np.float64]
    """[N] the metric over each doc alone."""
    other: npt.NDArray[np.float64]
    """[N]"""

    def __len__(self) -> int:
        return len(self.task)

    def first(self, count: int) -> list[ChangedDoc]:
        """Return the first docs of the list."""
        columns = (self.task, self.original_doc_id, self.other_doc_id, self.original, self.other)
        rows = zip(*(column[:count].tolist() for column in columns), strict=True)
        return [ChangedDoc(self.tasks[task], *rest) for task, *rest in rows]

    def ids(self) -> dict[str, list[int]]:
        """Return by task its docs' positions in the original's split, ascending."""
        import numpy as np

        found = {}
        for number in dict.fromkeys(self.task.tolist()):
            found[self.tasks[number]] = np.sort(self.original_doc_id[self.task == number]).tolist()
        return found

    def where(self, places: npt.NDArray[np.int64]) -> DocList:
        """Return the docs at these places, in that order."""
        return DocList(
            tasks=self.tasks,
            task=self.task[places],
            original_doc_id=self.original_doc_id[places],
            other_doc_id=self.other_doc_id[places],
            original=self.original[places],
            other=self.other[places],
        )


class ChangedDocs(NamedTuple):
    """The docs behind a difference."""

    lost: DocList
    """Docs on which the other model is worse."""
    gained: DocList


def changed_docs(matched: MatchedModels, difference: MetricDifference) -> ChangedDocs:
    """Return all docs with different values of a compared metric; for a group, the docs of its tasks."""
    import numpy as np

    changed = _changed(matched, difference)
    sign = -1.0 if difference.higher_is_better is False else 1.0
    better = sign * (changed.other - changed.original)
    order = np.argsort(-np.abs(better), kind="stable")
    return ChangedDocs(
        lost=changed.where(order[better[order] < 0]), gained=changed.where(order[better[order] > 0])
    )


def tasks_behind(model: ModelAnswers, difference: MetricDifference) -> dict[str, TaskAnswers]:
    """Return the tasks behind a compared metric, with the docs of that metric."""
    if difference.kind == "group" and difference.task in model.groups:
        return dict(model.groups[difference.task].members)
    return {task.name: task for label, task in model.tasks.items() if label == difference.task}


def _changed(matched: MatchedModels, difference: MetricDifference) -> DocList:
    """Return the docs with different values in the order of tasks and splits."""
    import numpy as np

    tasks, other_tasks = (tasks_behind(model, difference) for model in (matched.original, matched.other))
    names: list[str] = []
    columns = []
    for name, task in tasks.items():
        if name not in other_tasks:
            continue
        pair = (task, other_tasks[name])
        before, after = (matched.values(each, difference.metric, difference.filter) for each in pair)
        if before is None or after is None:
            continue
        common = matched.common(*pair)
        before, after = before.of(common.original), after.of(common.other)
        with np.errstate(over="ignore"):  # a doc that a broken model finds impossible
            old, new = before.transform(before.values), after.transform(after.values)
        places = np.flatnonzero(np.abs(new - old) > 0)
        of_original = task.doc_ids[common.original[places]]
        of_other = other_tasks[name].doc_ids[common.other[places]]
        columns.append((np.full(len(places), len(names)), of_original, of_other, old[places], new[places]))
        names.append(task.name)
    empty = tuple(np.zeros(0, kind) for kind in (np.int64, np.int64, np.int64, np.float64, np.float64))
    task_of, of_original, of_other, old, new = map(np.concatenate, zip(empty, *columns, strict=True))
    return DocList(
        tasks=tuple(names),
        task=task_of,
        original_doc_id=of_original,
        other_doc_id=of_other,
        original=old,
        other=new,
    )
