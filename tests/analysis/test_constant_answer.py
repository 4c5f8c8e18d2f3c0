"""What a model picks whatever the question, and what that habit alone would score."""

from __future__ import annotations

import numpy as np
import pytest

from milepost.analysis.choice_values import doc_metrics
from milepost.analysis.constant_answer import count_picks
from tests.analysis.offers import letters, offered


def test_picks_and_right_answers_are_counted_by_position() -> None:
    choices = letters(np.array([0, 1, 1, 3]))
    logs = np.tile([-5.0, -1.0, -5.0, -5.0], 4)
    counts = count_picks(choices, doc_metrics(choices, logs))
    assert counts.picked == [0, 4, 0, 0]
    assert counts.right == [1, 2, 0, 1]
    assert counts.constant == [0.25, 0.5, 0.0, 0.25]
    assert counts.fixed


def test_a_position_that_few_docs_have_is_no_habit_to_compare_with() -> None:
    choices = offered("*a b", "a *b", "a b *c")
    counts = count_picks(choices, doc_metrics(choices, np.full(7, -1.0)))
    assert counts.constant == [pytest.approx(1 / 3), pytest.approx(1 / 3)]


def test_picks_by_length_share_equal_ranks() -> None:
    choices = offered("*xxx y y", "*aaa bb c")
    counts = count_picks(choices, doc_metrics(choices, np.array([-5.0, -1.0, -5.0, -1.0, -5.0, -5.0])))
    assert counts.picked_by_length == [0.5, 0.5, 1.0]
    assert counts.right_by_length == [0.0, 0.0, 2.0]


def test_letters_have_no_longest_choice() -> None:
    choices = letters(np.array([0, 1]))
    counts = count_picks(choices, doc_metrics(choices, np.full(8, -1.0)))
    assert counts.picked_by_length == []
