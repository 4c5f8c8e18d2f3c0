"""Follow single questions through training: which were learned, forgotten or never right.

A model near chance learns and forgets hundreds of questions at every step by luck. So the counts of learned
and forgotten questions come with a test of their difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from milepost.analysis.paired import mcnemar
from milepost.types.histories import PickHistory

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Kind = Literal["all", "learned", "forgotten", "always-wrong", "always-right", "flips"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepChange:
    """Changes from one checkpoint to the next."""

    checkpoint: str
    step: int | None
    right: int
    """Docs answered right at this checkpoint."""
    learned: int
    """Docs wrong at the checkpoint before, right at this one."""
    forgotten: int
    """Docs right at the checkpoint before, wrong at this one."""
    p_value: float
    """Exact McNemar: how often random flips would give at least this difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Numbers of docs over a whole series."""

    docs: int
    always_right: int
    always_wrong: int
    learned: int
    """Wrong at the first checkpoint, right at the last."""
    forgotten: int
    """Right at some checkpoint, wrong at the last."""
    p_value: float
    """Exact McNemar between the first and the last checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDocs:
    """Docs of several tasks, in an order: [n] numbers of tasks, and [n] columns in their histories."""

    histories: Sequence[PickHistory]
    task: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.task)

    def part(self, first: int, count: int) -> list[tuple[PickHistory, int]]:
        """Return `count` docs from the `first` on, as (task, doc's position in the split)."""
        some = slice(first, first + count)
        return [
            (self.histories[task], int(self.histories[task].doc_id[place]))
            for task, place in zip(self.task[some], self.place[some], strict=True)
        ]


def find_docs(
    histories: Sequence[PickHistory], kind: Kind, among: Sequence[npt.NDArray[np.bool_]] | None = None
) -> FoundDocs:
    """Return the docs of a kind over all tasks, the clearest cases first:

    - `learned`: wrong at the first checkpoint, right at the last; by the number of checkpoints since it is
      right, then by the margin at the last.
    - `forgotten`: right at some checkpoint, wrong at the last; by the longest run of checkpoints at which it
      was right, then by the decrease of the margin.
    - `always-wrong`: wrong at every checkpoint; the lowest margin at the last checkpoint first.
    - `always-right`: right at every checkpoint; the highest margin at the last checkpoint first.
    - `flips`: changed between right and wrong at least twice; most changes first (forgetting events as in
      Toneva et al., arXiv 1812.05159).
    - `all`: in the order of the tasks and of the split.

    Args:
        among: by task, [D] whether a doc is wanted; None for all docs.
    """
    import numpy as np

    cases = [_cases(history, kind) for history in histories]
    if among is not None:
        cases = [case.where(wanted[case.place]) for case, wanted in zip(cases, among, strict=True)]
    task = np.repeat(np.arange(len(cases)), [len(case.place) for case in cases])
    place = np.concatenate([case.place for case in cases])
    first = np.concatenate([case.first for case in cases])
    second = np.nan_to_num(np.concatenate([case.second for case in cases]))
    order = np.lexsort((place, task, -second, -first))
    return FoundDocs(histories=histories, task=task[order], place=place[order])


def join_histories(histories: Sequence[PickHistory]) -> PickHistory | None:
    """Join the docs of several tasks of a series; None if their checkpoints differ."""
    import numpy as np

    if len(histories) == 1:
        return histories[0]
    if len({history.checkpoints for history in histories}) > 1:
        return None
    return replace(
        histories[0],
        task=f"{len(histories)} tasks",
        doc_id=np.concatenate([history.doc_id for history in histories]),
        pick=np.concatenate([history.pick for history in histories], axis=1),
        right=np.concatenate([history.right for history in histories], axis=1),
        margin=np.concatenate([history.margin for history in histories], axis=1),
    )


class _Cases(NamedTuple):
    """Docs of a kind in one task, and how clear each case is."""

    place: npt.NDArray[np.int64]
    """[n] columns in the history."""
    first: npt.NDArray[Any]
    """[n] the higher, the clearer the case."""
    second: npt.NDArray[Any]
    """[n] the same, for cases with equal `first`."""

    def where(self, wanted: npt.NDArray[np.bool_]) -> _Cases:
        return _Cases(self.place[wanted], self.first[wanted], self.second[wanted])


def _cases(history: PickHistory, kind: Kind) -> _Cases:
    import numpy as np

    right, margin = history.right, history.margin.astype(np.float64)
    last = margin[-1]
    zeros = np.zeros(right.shape[1])
    mask: npt.NDArray[Any]
    keys: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    if kind == "all":
        mask, keys = np.ones(right.shape[1], dtype=bool), (zeros, zeros)
    elif kind == "learned":
        mask, keys = ~right[0] & right[-1], (_run_at_the_end(right), last)
    elif kind == "forgotten":
        mask, keys = right.any(axis=0) & ~right[-1], (_longest_run(right), margin.max(axis=0) - last)
    elif kind == "always-wrong":
        mask, keys = np.logical_not(right.any(axis=0)), (zeros, -last)
    elif kind == "always-right":
        mask, keys = np.logical_not((~right).any(axis=0)), (zeros, last)
    else:
        changes = (right[1:] != right[:-1]).sum(axis=0)
        mask, keys = changes >= 2, (changes, np.abs(np.diff(margin, axis=0)).sum(axis=0))
    place = np.flatnonzero(mask)
    return _Cases(place, keys[0][place], keys[1][place])


def step_changes(history: PickHistory) -> list[StepChange]:
    """Count what each checkpoint learned and forgot since the checkpoint before; 0 for the first one."""
    found = []
    for number, (checkpoint, step) in enumerate(zip(history.checkpoints, history.steps, strict=True)):
        now = history.right[number]
        before = history.right[number - 1] if number else now
        learned, forgotten = int((now & ~before).sum()), int((before & ~now).sum())
        found.append(
            StepChange(
                checkpoint=checkpoint,
                step=step,
                right=int(now.sum()),
                learned=learned,
                forgotten=forgotten,
                p_value=mcnemar(forgotten, learned),
            )
        )
    return found


def totals(history: PickHistory) -> Totals:
    """Count the same over the whole series."""
    right = history.right
    first, last = right[0], right[-1]
    gained, lost = int((last & ~first).sum()), int((first & ~last).sum())
    return Totals(
        docs=right.shape[1],
        always_right=int(right.all(axis=0).sum()),
        always_wrong=int((~right.any(axis=0)).sum()),
        learned=gained,
        forgotten=int((right.any(axis=0) & ~last).sum()),
        p_value=mcnemar(lost, gained),
    )


def _run_at_the_end(right: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return [D] the number of checkpoints at the end at which a doc is right without a break."""
    import numpy as np

    wrong_from_end = ~right[::-1]
    was_wrong = wrong_from_end.any(axis=0)
    return np.where(was_wrong, wrong_from_end.argmax(axis=0), len(right))


def _longest_run(right: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return [D] the longest run of checkpoints at which a doc was right."""
    import numpy as np

    longest = np.zeros(right.shape[1], dtype=np.int64)
    current = np.zeros(right.shape[1], dtype=np.int64)
    for row in right:
        current = np.where(row, current + 1, 0)
        longest = np.maximum(longest, current)
    return longest
