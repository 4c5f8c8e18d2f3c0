"""What the log-likelihoods of choices say doc by doc, on docs small enough to reckon by hand."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from milepost.analysis.choice_values import doc_metrics
from tests.analysis.offers import letters, offered


def test_each_norm_has_its_own_pick() -> None:
    choices = offered("*no certainly perhaps")
    docs = doc_metrics(choices, np.array([-2.0, -4.0, -2.5]))
    assert docs.pick.tolist() == [0]
    assert docs.pick_norm.tolist() == [2]  # -2.5 over 7 characters
    assert docs.pick_bytes.tolist() == [2]
    assert (docs.right.tolist(), docs.right_norm.tolist()) == ([True], [False])


def test_a_character_of_several_bytes_counts_as_one_in_acc_norm() -> None:
    docs = doc_metrics(offered("éé *abc"), np.array([-3.0, -4.2]))
    assert docs.pick_norm.tolist() == [1]
    assert docs.pick_bytes.tolist() == [0]


def test_probability_margin_and_bits_of_a_doc_reckoned_by_hand() -> None:
    docs = doc_metrics(offered("*ab cd"), np.log([0.3, 0.1]))
    assert docs.prob_right[0] == pytest.approx(0.75)
    assert docs.confidence[0] == pytest.approx(0.75)
    assert docs.margin[0] == pytest.approx(math.log(3))
    assert docs.bpb_right[0] == pytest.approx(-math.log2(0.3) / 2)
    assert docs.entropy[0] == pytest.approx(-0.75 * math.log2(0.75) - 0.25 * math.log2(0.25))


def test_of_several_right_choices_each_counts_and_the_best_gives_margin_and_bits() -> None:
    docs = doc_metrics(offered("*a *b c"), np.log([0.1, 0.2, 0.1]))
    assert docs.right.tolist() == [True]
    assert docs.prob_right[0] == pytest.approx(0.75)
    assert docs.margin[0] == pytest.approx(math.log(2))
    assert docs.bpb_right[0] == pytest.approx(-math.log2(0.2))


def test_a_doc_without_a_right_choice_is_wrong_and_has_no_bits() -> None:
    docs = doc_metrics(offered("a b", "*a b"), np.log([0.2, 0.1, 0.2, 0.1]))
    assert docs.right.tolist() == [False, True]
    assert math.isnan(docs.bpb_right[0])
    assert math.isnan(docs.margin[0])
    assert math.isnan(docs.prob_right[0])


def test_docs_may_offer_different_numbers_of_choices() -> None:
    docs = doc_metrics(offered("*a b", "a b c d *e"), np.log([0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.4]))
    assert docs.pick.tolist() == [0, 4]
    assert docs.prob_right == pytest.approx([2 / 3, 0.5])


def test_equal_choices_give_the_first_but_are_no_sure_knowledge() -> None:
    docs = doc_metrics(offered("*a b"), np.array([-1.0, -1.0]))
    assert docs.right.tolist() == [True]
    assert docs.sure_right.tolist() == [False]
    assert docs.entropy[0] == pytest.approx(1.0)


def test_an_empty_choice_is_never_picked_by_a_norm_and_has_no_bits() -> None:
    choices = offered("*a b")
    choices.chars[0] = choices.bytes[0] = choices.scored_bytes[0] = 0
    docs = doc_metrics(choices, np.array([-1.0, -9.0]))
    assert docs.pick_norm.tolist() == [1]
    assert math.isnan(docs.bpb_right[0])


@given(st.lists(st.floats(-500, 0), min_size=4, max_size=4), st.integers(0, 3), st.floats(-50, 50))
def test_what_compares_choices_does_not_change_when_all_become_likelier(
    logs: list[float], right: int, shift: float
) -> None:
    choices = letters(np.array([right]))
    docs, moved = (doc_metrics(choices, np.array(logs) + by) for by in (0.0, shift))
    assert docs.prob_right == pytest.approx(moved.prob_right, abs=1e-9)
    assert docs.margin == pytest.approx(moved.margin, abs=1e-9)
    assert 0 <= docs.entropy[0] <= 2 + 1e-9
    assert (docs.margin[0] > 0) <= bool(docs.right[0])
