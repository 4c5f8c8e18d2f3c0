"""Match the docs of two models, and align what they contribute to a metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from milepost.analysis.doc_values import DocValues, identity, read_values
from milepost.text.language import Phrase
from milepost.types.answers import GroupAnswers, ModelAnswers, TaskAnswers
from milepost.types.metrics import Measurement

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class CommonDocs(NamedTuple):
    """Positions of the same docs in two lists, in the order of the first list."""

    original: npt.NDArray[np.int64]
    """[C] positions in the first list."""
    other: npt.NDArray[np.int64]
    """[C] positions in the second list."""


class DocCount(NamedTuple):
    """Numbers of docs behind a comparison."""

    common: int
    original: int
    other: int


class DocPair(NamedTuple):
    """The values of the common docs of one metric for both models."""

    original: DocValues
    other: DocValues
    strata: npt.NDArray[np.int64] | None
    """[D] the task of each doc, if tasks have weights (see `paired.paired_means`)."""
    docs: DocCount
    in_percent: bool = False
    """True if a right doc counts 100, as in squadv2; not visible in the values if all docs are wrong."""


class Uncompared(NamedTuple):
    """A task (or one of its metrics) that could not be compared, and the reason."""

    what: str
    reason: str


def common_docs(original: TaskAnswers, other: TaskAnswers) -> CommonDocs:
    """Match docs by their hashes; repeated docs are matched in order, the first with the first.

    Answers to the same record of docs are to the same docs in the same order.
    """
    import numpy as np

    if original.docs_id == other.docs_id and original.n_docs == other.n_docs:
        every = np.arange(original.n_docs)
        return CommonDocs(every, every)
    place = {key: i for i, key in enumerate(numbered(other.hashes()))}
    pairs = [(i, place[key]) for i, key in enumerate(numbered(original.hashes())) if key in place]
    places = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return CommonDocs(places[:, 0], places[:, 1])


class MatchedModels:
    """Two models with the common docs of each task; what is asked again is kept.

    The tasks of a group are taken as in the group's metric: a task may have been evaluated again since, alone
    and on other docs.
    """

    def __init__(self, original: ModelAnswers, other: ModelAnswers) -> None:
        self.original, self.other = original, other
        self._common: dict[tuple[int, int], CommonDocs] = {}
        self._values: dict[tuple[int, str, str], DocValues | None] = {}
        self._pairs: dict[tuple[int, int, str, str], DocPair | Uncompared] = {}

    @cached_property
    def docs(self) -> dict[str, CommonDocs]:
        """The common docs, by task of both models."""
        return {
            name: self.common(task, self.other.tasks[name])
            for name, task in self.original.tasks.items()
            if name in self.other.tasks
        }

    def has(self, name: str) -> bool:
        """Return whether both models have this task or group."""
        return name in self.docs or (name in self.original.groups and name in self.other.groups)

    def pair(self, measured: Measurement) -> DocPair | Uncompared:
        """Align the docs' values of a metric of the original, or return why that is impossible."""
        if measured.kind == "task":
            tasks = self.original.tasks[measured.label], self.other.tasks[measured.label]
            return self._of_task(*tasks, measured.metric, measured.filter)
        return self._of_group(self.original.groups[measured.label], measured)

    def common(self, original: TaskAnswers, other: TaskAnswers) -> CommonDocs:
        """Return the common docs of a task of the original and one of the other model."""
        key = id(original), id(other)
        if key not in self._common:
            self._common[key] = common_docs(original, other)
        return self._common[key]

    def values(self, task: TaskAnswers, metric: str, filter: str) -> DocValues | None:
        """Return `task_doc_values` of a task of one of the models."""
        key = id(task), metric, filter
        if key not in self._values:
            self._values[key] = task_doc_values(task, metric, filter)
        return self._values[key]

    def _of_task(
        self, original: TaskAnswers, other: TaskAnswers, metric: str, filter: str
    ) -> DocPair | Uncompared:
        key = id(original), id(other), metric, filter
        if key not in self._pairs:
            self._pairs[key] = self._aligned(original, other, metric, filter)
        return self._pairs[key]

    def _aligned(
        self, original: TaskAnswers, other: TaskAnswers, metric: str, filter: str
    ) -> DocPair | Uncompared:
        import numpy as np

        name = original.measurements[0].label
        label = _label(name, metric, filter)
        common = self.common(original, other)
        count = DocCount(len(common.original), original.n_docs, other.n_docs)
        if not count.common:
            return Uncompared(
                name,
                Phrase("no doc in common ({one} and {other} docs)", one=count.original, other=count.other),
            )
        for task in (original, other):
            if _stored_value(task, metric, filter) is None:
                return Uncompared(label, Phrase("one of the models does not have this metric"))
        before, after = (self.values(task, metric, filter) for task in (original, other))
        if before is None or after is None:
            no_mean = Phrase("it is not a mean over these docs, so it has no paired test")
            return Uncompared(label, no_mean)
        if before.transform is not after.transform:
            return Uncompared(label, Phrase("the two results compute it differently"))
        before, after = before.of(common.original), after.of(common.other)
        counts = ~(np.isnan(before.values) | np.isnan(after.values))
        if not counts.any():
            return Uncompared(label, Phrase("no common doc counts in it"))
        if not np.allclose(before.weights[counts], after.weights[counts]):
            return Uncompared(label, Phrase("the two results weigh the same docs differently"))
        places = np.flatnonzero(counts)
        in_percent = any(measured.metric == "HasAns_exact" for measured in original.measurements)
        docs = count._replace(common=len(places))
        return DocPair(before.of(places), after.of(places), None, docs, in_percent)

    def _of_group(self, group: GroupAnswers, measured: Measurement) -> DocPair | Uncompared:
        import numpy as np

        label = _label(measured.label, measured.metric, measured.filter)
        others = self.other.groups[measured.label].members
        members = [
            self._of_task(task, others[name], measured.metric, measured.filter)
            for name, task in group.members.items()
            if name in others
        ]
        parts = [part for part in members if isinstance(part, DocPair)]
        if not parts:
            return Uncompared(label, Phrase("none of its tasks could be compared"))
        if len(parts) < len(group.tasks):
            return Uncompared(
                label,
                Phrase("only {n} of its {all} tasks could be compared", n=len(parts), all=len(group.tasks)),
            )
        if not all(part.original.is_mean for part in parts):
            return Uncompared(label, Phrase("it is not a mean over docs"))
        by_size = group.weighs_by_size(measured.metric)
        weights = np.concatenate(
            [np.full(part.docs.common, 1.0 if by_size else 1.0 / part.docs.common) for part in parts]
        )
        before = np.concatenate([part.original.values for part in parts])
        after = np.concatenate([part.other.values for part in parts])
        strata = np.repeat(np.arange(len(parts)), [part.docs.common for part in parts])
        counts = DocCount(*(sum(part.docs[i] for part in parts) for i in range(3)))
        return DocPair(
            DocValues(before, weights, identity),
            DocValues(after, weights, identity),
            None if np.ptp(weights) == 0 else strata,
            counts,
        )


def task_doc_values(task: TaskAnswers, metric: str, filter: str) -> DocValues | None:
    """Interpret the docs of a task for one metric; None without values, or if it is not a mean over docs."""
    raw = task.values.get((metric, filter))
    stored = _stored_value(task, metric, filter)
    return None if raw is None or stored is None else read_values(raw, stored)


def _stored_value(task: TaskAnswers, metric: str, filter: str) -> float | None:
    key = metric, filter
    return next(
        (measured.value for measured in task.measurements if (measured.metric, measured.filter) == key), None
    )


def _label(task: str, metric: str, filter: str) -> str:
    return f"{task} {metric}" if filter == "none" else f"{task} {metric} ({filter})"


def numbered(hashes: Sequence[str]) -> list[tuple[str, int]]:
    """Return each hash with the number of times that it occurred before."""
    seen: Counter[str] = Counter()
    numbered = []
    for key in hashes:
        numbered.append((key, seen[key]))
        seen[key] += 1
    return numbered
