"""Questions learned and forgotten through training."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from milepost.analysis.questions import Kind, find_docs, step_changes, totals
from milepost.types.histories import PickHistory


def history(right: list[list[int]], margin: list[list[float]] | None = None) -> PickHistory:
    """`right` has a line per checkpoint and a column per doc."""
    table = np.array(right, dtype=bool)
    return PickHistory(
        series="run",
        task="task",
        docs_id="task",
        checkpoints=tuple(f"step-{step}" for step in range(len(table))),
        steps=tuple(range(len(table))),
        doc_id=np.arange(table.shape[1]) * 10,
        pick=table.astype(np.int16),
        right=table,
        margin=np.array(margin if margin is not None else np.where(table, 1.0, -1.0), dtype=np.float32),
    )


THROUGH = history(
    [
        #  learned early, learned late, forgotten, never, always, flips
        [0, 0, 1, 0, 1, 1],
        [1, 0, 1, 0, 1, 0],
        [1, 0, 0, 0, 1, 1],
        [1, 1, 0, 0, 1, 0],
    ]
)


def places(of: PickHistory, kind: Kind) -> list[int]:
    """Columns of the history, of every doc of a kind."""
    return [doc // 10 for _, doc in find_docs([of], kind).part(0, of.right.size)]


def test_parts_of_a_list_follow_each_other_and_some_docs_can_be_left_out() -> None:
    found = find_docs([THROUGH], "all")
    assert len(found) == 6
    assert found.part(0, 4) + found.part(4, 4) == found.part(0, 6)
    only = find_docs([THROUGH], "all", [np.array([True, False, True, False, False, True])])
    assert [doc // 10 for _, doc in only.part(0, 9)] == [0, 2, 5]


def test_learned_are_wrong_at_first_and_right_at_last_the_earliest_first() -> None:
    assert places(THROUGH, "learned") == [0, 1]


def test_forgotten_were_right_once_the_longest_known_first() -> None:
    assert places(THROUGH, "forgotten") == [2, 5]


def test_always_wrong_always_right_and_flips() -> None:
    assert places(THROUGH, "always-wrong") == [3]
    assert places(THROUGH, "always-right") == [4]
    assert places(THROUGH, "flips") == [5]
    assert places(THROUGH, "all") == [0, 1, 2, 3, 4, 5]


def test_of_the_never_right_the_most_wrongly_answered_comes_first() -> None:
    wrong = history([[0, 0, 0]], [[-0.5, -3.0, -1.0]])
    assert places(wrong, "always-wrong") == [1, 2, 0]


def test_over_several_tasks_the_clearest_cases_come_first_whichever_their_task() -> None:
    late = history([[0, 0], [0, 0], [0, 1]])
    early = history([[0, 0], [0, 1], [0, 1]])
    assert [(of is early, doc) for of, doc in find_docs([late, early], "learned").part(0, 5)] == [
        (True, 10),
        (False, 10),
    ]
    assert len(find_docs([late, early], "all").part(0, 3)) == 3


def test_counts_per_step_are_against_the_checkpoint_before() -> None:
    counted = [(one.right, one.learned, one.forgotten) for one in step_changes(THROUGH)]
    assert counted == [(3, 0, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1)]


def test_totals_over_the_whole_series() -> None:
    of = totals(THROUGH)
    assert (of.docs, of.always_right, of.always_wrong, of.learned, of.forgotten) == (6, 1, 1, 2, 2)


def test_one_sided_change_is_told_from_flips_by_luck() -> None:
    luck = history([[1] * 10 + [0] * 10, [0] * 10 + [1] * 10])
    gain = history([[0] * 20, [1] * 20])
    assert totals(luck).p_value == 1.0
    assert totals(gain).p_value == pytest.approx(2 / 2**20)


@given(arrays(bool, (4, 12)))
def test_every_doc_is_in_its_kinds_and_counts_add_up(right: np.ndarray) -> None:
    of = history(right.astype(int).tolist())
    steps = step_changes(of)
    for before, after in itertools.pairwise(steps):
        assert after.right == before.right + after.learned - after.forgotten
    sums = totals(of)
    assert len(places(of, "learned")) == sums.learned
    assert len(places(of, "forgotten")) == sums.forgotten
    assert len(places(of, "always-wrong")) == sums.always_wrong
    assert set(places(of, "learned")) | set(places(of, "forgotten")) <= set(range(12))


@given(st.integers(1, 5))
def test_one_checkpoint_has_nothing_learned(n: int) -> None:
    alone = history([[1] * n])
    assert len(places(alone, "learned")) == len(places(alone, "flips")) == 0
    assert step_changes(alone)[0].learned == 0
