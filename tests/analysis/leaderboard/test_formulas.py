"""Summing up a table of models by columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.analysis.leaderboard.formulas import mean_normalised, mean_rank, mean_win_rate, min_max_sum

NAN = float("nan")


def table(*models: list[float]) -> np.ndarray:
    return np.array([models], dtype=float)


def test_mean_win_rate_is_helms_on_a_table_by_hand() -> None:
    # By hand, column by column: A beats both, one, none; B none, both, one and a tie; C one, none, a tie.
    scores = table([0.9, 0.5, 0.1], [0.1, 0.7, 0.4], [0.5, 0.3, 0.4])
    expected = [(2 / 2 + 1 / 2 + 0) / 3, (0 + 2 / 2 + 1.5 / 2) / 3, (1 / 2 + 0 + 1.5 / 2) / 3]
    assert mean_win_rate(scores)[0] == pytest.approx(expected, abs=1e-15)


def test_ties_count_as_in_helms_own_test() -> None:
    # helm/benchmark/presentation/test_summarize.py, test_compute_win_rates_ties
    scores = table([1.0], [1.0], [1.0], [2.0], [3.0])
    assert mean_win_rate(scores)[0].tolist() == [0.25, 0.25, 0.25, 0.75, 1.0]


def test_a_model_that_lacks_a_column_takes_no_part_in_it() -> None:
    scores = table([0.9, NAN], [0.5, 0.6], [0.1, 0.7])
    assert mean_win_rate(scores)[0] == pytest.approx([1.0, (0.5 + 0) / 2, (0 + 1) / 2])
    assert mean_rank(scores)[0] == pytest.approx([1.0, (2 + 2) / 2, (3 + 1) / 2])


def test_a_column_of_one_model_says_nothing_of_win_rates() -> None:
    scores = table([0.9, 0.3], [0.5, NAN])
    assert mean_win_rate(scores)[0].tolist() == [1.0, 0.0]
    assert np.isnan(mean_win_rate(table([0.9]))[0]).all()


def test_tied_models_share_their_places() -> None:
    assert mean_rank(table([0.5], [0.7], [0.5]))[0].tolist() == [2.5, 1.0, 2.5]


def test_normalised_is_zero_for_guessing_and_one_for_perfect() -> None:
    scores = table([0.25, 0.5, 12.0], [1.0, 1.0, 9.0], [0.2, 0.5, 9.0])
    chance, ceiling = np.array([0.25, 0.5, NAN]), np.array([1.0, 1.0, NAN])
    assert mean_normalised(scores, chance, ceiling)[0] == pytest.approx([0.0, 1.0, (-0.05 / 0.75) / 2])


def test_min_max_stretches_each_column_from_worst_to_best() -> None:
    scores = table([0.2, 0.5, 0.3], [0.4, 0.1, 0.3], [0.3, 0.3, 0.3])
    assert min_max_sum(scores)[0] == pytest.approx([1.0, 1.0, 1.0])


def test_min_max_is_not_known_of_a_model_that_lacks_a_column() -> None:
    sums = min_max_sum(table([0.2, NAN], [0.4, 0.1], [0.3, 0.3]))[0]
    assert np.isnan(sums[0])
    assert sums[1:] == pytest.approx([1.0, 1.5])


def test_a_draw_in_which_no_model_has_a_column_has_no_min_max_sum_and_no_warning() -> None:
    draws = np.concatenate([table([0.2, 0.1], [0.4, 0.3]), table([0.2, NAN], [0.4, NAN])])
    first, second = min_max_sum(draws)
    assert first == pytest.approx([0.0, 2.0])
    assert np.isnan(second).all()


@given(st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, NAN]), min_size=3, max_size=3), min_size=2))
def test_win_rates_of_all_models_in_a_column_average_to_one_half(models: list[list[float]]) -> None:
    for column in range(3):
        of_column = [[model[column]] for model in models if not np.isnan(model[column])]
        if len(of_column) > 1:
            assert mean_win_rate(table(*of_column))[0].mean() == pytest.approx(0.5)
            assert mean_rank(table(*of_column))[0].mean() == pytest.approx((len(of_column) + 1) / 2)
