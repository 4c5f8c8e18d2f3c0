"""Match the docs of two models, and align what they contribute to a metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from milepost.analysis.doc_values import DocValues, identity, read_values
from milepost.language import Phrase
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


def common_docs(original: Sequence[str], other: Sequence[str]) -> CommonDocs:
    """Match docs by their hashes; repeated docs are matched in order, the first with the first."""
    import numpy as np

    place = {key: i for i, key in enumerate(_numbered(other))}
    pairs = [(i, place[key]) for i, key in enumerate(_numbered(original)) if key in place]
    places = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return CommonDocs(places[:, 0], places[:, 1])


class MatchedModels:
    """Two models with the common docs of each task, which are matched once.

    The tasks of a group are taken as in the group's metric: a task may have been evaluated again since, alone
    and on other docs.
    """

    def __init__(self, original: ModelAnswers, other: ModelAnswers) -> None:
        self._original, self._other = original, other
        self.docs: dict[str, CommonDocs] = {
            name: common_docs(task.doc_hashes, other.tasks[name].doc_hashes)
            for name, task in original.tasks.items()
            if name in other.tasks
        }

    def has(self, name: str) -> bool:
        """Return whether both models have this task or group."""
        return name in self.docs or (name in self._original.groups and name in self._other.groups)

    def pair(self, measured: Measurement) -> DocPair | Uncompared:
        """Align the docs' values of a metric of the original, or return why that is impossible."""
        if measured.kind == "task":
            tasks = self._original.tasks[measured.label], self._other.tasks[measured.label]
            return self._of_task(*tasks, measured.metric, measured.filter)
        return self._of_group(self._original.groups[measured.label], measured)

    def _common(self, original: TaskAnswers, other: TaskAnswers) -> CommonDocs:
        label = original.measurements[0].label
        if original is self._original.tasks.get(label) and other is self._other.tasks.get(label):
            return self.docs[label]
        return common_docs(original.doc_hashes, other.doc_hashes)

    def _of_task(
        self, original: TaskAnswers, other: TaskAnswers, metric: str, filter: str
    ) -> DocPair | Uncompared:
        import numpy as np

        name = original.measurements[0].label
        label = _label(name, metric, filter)
        common = self._common(original, other)
        count = DocCount(len(common.original), len(original.doc_hashes), len(other.doc_hashes))
        if not count.common:
            return Uncompared(
                name,
                Phrase("no doc in common ({one} and {other} docs)", one=count.original, other=count.other),
            )
        before, after = (_doc_values(task, metric, filter) for task in (original, other))
        for values in (before, after):
            if isinstance(values, str):
                return Uncompared(label, values)
        assert isinstance(before, DocValues)
        assert isinstance(after, DocValues)
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
        others = self._other.groups[measured.label].members
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


def _doc_values(task: TaskAnswers, metric: str, filter: str) -> DocValues | str:
    if _stored_value(task, metric, filter) is None:
        return Phrase("one of the models does not have this metric")
    values = task_doc_values(task, metric, filter)
    return Phrase("it is not a mean over these docs, so it has no paired test") if values is None else values


def _stored_value(task: TaskAnswers, metric: str, filter: str) -> float | None:
    key = metric, filter
    return next(
        (measured.value for measured in task.measurements if (measured.metric, measured.filter) == key), None
    )


def _label(task: str, metric: str, filter: str) -> str:
    return f"{task} {metric}" if filter == "none" else f"{task} {metric} ({filter})"


def _numbered(hashes: Sequence[str]) -> list[tuple[str, int]]:
    """Return each hash with the number of times that it occurred before."""
    seen: Counter[str] = Counter()
    numbered = []
    for key in hashes:
        numbered.append((key, seen[key]))
        seen[key] += 1
    return numbered
