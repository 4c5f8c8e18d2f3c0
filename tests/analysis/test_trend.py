"""Flat series are seldom called a rise, however long their noise lasts; rises of several shapes are seen."""

from __future__ import annotations

import numpy as np
import pytest

from milepost.analysis.signal import Points, rate
from milepost.analysis.trend import FEWEST, direction

SERIES = 1000


def drifting(draw: np.random.Generator, n: int, lasting: float) -> np.ndarray:
    """[SERIES, n] flat series whose noise has an autocorrelation of `lasting` and a spread of 1."""
    fresh = draw.normal(size=(SERIES, n))
    noise = np.empty((SERIES, n))
    noise[:, 0] = fresh[:, 0]
    for place in range(1, n):
        noise[:, place] = lasting * noise[:, place - 1] + np.sqrt(1 - lasting**2) * fresh[:, place]
    return noise


@pytest.mark.parametrize("n", [4, 5, 6, 8, 10, 20, 50])
@pytest.mark.parametrize("lasting", [0.0, 0.5, 0.9, 0.95])
def test_a_flat_series_is_called_a_rise_at_most_5_times_in_100(n: int, lasting: float) -> None:
    of = drifting(np.random.default_rng(n), n, lasting)
    assert sum(direction(one) > 0 for one in of) <= 0.05 * SERIES + 12
    assert sum(direction(one) < 0 for one in of) <= 0.05 * SERIES + 12
    improved = 0
    for one in of:
        improved += rate(
            Points(
                steps=tuple(range(n)),
                values=tuple(2 + 0.01 * one),
                n=100,
                stderr=(0.1,) * n,
                is_accuracy=False,
                higher_is_better=False,
            )
        ).improved
    assert improved <= 0.05 * SERIES


@pytest.mark.parametrize("n", [4, 6, 10, 30])
@pytest.mark.parametrize("docs", [6, 20, 100, 1000])
@pytest.mark.parametrize("lasting", [0.0, 0.9])
def test_a_flat_accuracy_is_neither_improved_nor_above_a_chance_that_it_equals(
    n: int, docs: int, lasting: float
) -> None:
    from scipy.stats import binom, norm

    of = norm.cdf(drifting(np.random.default_rng(n * docs), n, lasting)[:400])
    steps = tuple(range(n))
    flat = [rate(Points(steps=steps, values=tuple(binom.ppf(one, docs, 0.5) / docs), n=docs)) for one in of]
    assert sum(one.improved for one in flat) <= 0.05 * 400 + 6
    guesses = [
        rate(Points(steps=steps, values=tuple(binom.ppf(one, docs, 0.25) / docs), n=docs, chance=0.25))
        for one in of
    ]
    assert sum(one.verdict != "at chance" for one in guesses) <= 0.05 * 400 + 6


@pytest.mark.parametrize("n", [FEWEST, 8, 12, 30])
def test_a_smooth_rise_is_seen_whatever_its_shape(n: int) -> None:
    place = np.linspace(0, 1, n)
    for rise in (place, -np.exp(-5 * place), place**3, np.log(1 + 9 * place)):
        assert direction(rise) == 1
        assert direction(-rise) == -1


def test_a_slow_rise_is_seen_through_independent_noise() -> None:
    draw = np.random.default_rng(0)
    found = [direction(np.linspace(0, 1, 30) + draw.normal(0, 0.25, 30)) for _ in range(200)]
    assert sum(found) >= 180


def test_five_points_and_constants_have_no_direction() -> None:
    assert direction([1, 2, 3, 4, 5]) == 0
    assert direction([2.0] * 9) == 0


@pytest.mark.parametrize(("docs", "is_accuracy"), [(1, True), (5, True), (1, False), (9, False)])
def test_too_few_docs_are_said_to_be_too_few(docs: int, is_accuracy: bool) -> None:
    rating = rate(
        Points(steps=tuple(range(8)), values=tuple(np.linspace(0.1, 0.9, 8)), n=docs, is_accuracy=is_accuracy)
    )
    assert rating.verdict == "too few docs"


@pytest.mark.parametrize("values", [(0.25, 0.35, 0.45, 0.55), (0.25, 0.6, 0.85, 0.9)])
def test_an_accuracy_of_a_thousand_docs_that_rises_over_four_checkpoints_is_to_be_watched(
    values: tuple[float, ...],
) -> None:
    rating = rate(Points(steps=(1, 2, 3, 4), values=values, n=1000, chance=0.25))
    assert (rating.verdict, rating.improved) == ("watch", True)
