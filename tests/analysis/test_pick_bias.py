"""What counts of picks say of a model's habits."""

from __future__ import annotations

import pytest

from milepost.analysis.pick_bias import entropy_bits, pick_bias, position_name
from milepost.types.picks import PickCounts


def counts(picked: list[int], right: list[int]) -> PickCounts:
    n = sum(picked)
    return PickCounts(n, True, picked, right, [number / n for number in right], [], [])


def test_a_model_that_always_picks_one_letter_has_no_entropy() -> None:
    found = pick_bias(counts([0, 8, 0, 0], [2, 2, 2, 2]))
    assert found.entropy_bits == 0
    assert found.excess == pytest.approx(0.75)


def test_a_model_that_knows_everything_has_the_entropy_of_the_answers_and_no_bias() -> None:
    found = pick_bias(counts([4, 2, 1, 1], [4, 2, 1, 1]))
    assert found.entropy_bits == pytest.approx(1.75)
    assert found.excess == 0


def test_four_letters_alike_are_two_bits() -> None:
    assert entropy_bits([0.25] * 4) == pytest.approx(2)


def test_positions_are_letters_as_long_as_there_are_letters() -> None:
    assert [position_name(place) for place in (0, 3, 25, 26)] == ["A", "D", "Z", "27"]
