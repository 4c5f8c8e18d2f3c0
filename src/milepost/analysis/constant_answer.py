"""Count what a model picks by position and length, and what always picking the same would score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from milepost.analysis.choice_values import ChoiceTable, DocMetrics
from milepost.types.choices import Choices
from milepost.types.picks import PickCounts


def count_picks(choices: Choices, docs: DocMetrics) -> PickCounts:
    """Count the picks of one task at one checkpoint, by position and by length."""
    table = ChoiceTable.of(choices)
    right = table.of_docs(choices.right, False)
    usual = int(np.bincount(table.counts).argmax())
    offered = np.asarray([(table.counts > place).sum() for place in range(right.shape[1])])
    constant = right.mean(axis=0)[offered * 2 >= len(docs)]
    picked_by_length, right_by_length = _by_length(table, choices, right, docs.pick, usual)
    return PickCounts(
        n=len(docs),
        fixed=choices.fixed,
        picked=np.bincount(docs.pick, minlength=right.shape[1]).tolist(),
        right=right.sum(axis=0).tolist(),
        constant=constant.tolist(),
        picked_by_length=picked_by_length,
        right_by_length=right_by_length,
    )


def _by_length(
    table: ChoiceTable,
    choices: Choices,
    right: npt.NDArray[np.bool_],
    pick: npt.NDArray[np.int64],
    usual: int,
) -> tuple[list[float], list[float]]:
    lengths = table.of_docs(choices.bytes, 0)
    counted = (table.counts == usual) & (lengths[:, :usual].min(axis=1) < lengths[:, :usual].max(axis=1))
    lengths, right, pick = lengths[counted, :usual], right[counted, :usual], pick[counted]
    if not len(pick):
        return [], []
    below = (lengths[:, None, :] < lengths[:, :, None]).sum(axis=2)
    alike = (lengths[:, None, :] == lengths[:, :, None]).sum(axis=2)
    rows = np.arange(len(pick))
    of_pick, of_right = [], []
    for rank in range(usual):
        share = ((below <= rank) & (rank < below + alike)) / alike
        of_pick.append(float(share[rows, pick].sum()))
        of_right.append(float((share * right).sum()))
    return of_pick, of_right
