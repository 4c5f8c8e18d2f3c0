"""Verdicts on curves whose truth is known: simulated ones, and two published ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milepost.analysis.signal import Points, Rating, autocorrelation, rate

SIMULATIONS = 1000
STEPS = tuple(range(2000, 56000, 2000))
N_DOCS = 14_042
LETTERS = (0.22945, 0.26891)


def simulated(
    truth: Callable[[np.random.Generator], np.ndarray], n: int = N_DOCS, **known: Any
) -> list[Rating]:
    """Ratings of curves whose docs are answered right with the probabilities that `truth` gives."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(SIMULATIONS):
        values = draw.binomial(n, truth(draw)) / n
        found.append(rate(Points(steps=STEPS, values=tuple(values), n=n, **known)))
    return found


def share(ratings: list[Rating], holds: Callable[[Rating], bool]) -> float:
    return sum(map(holds, ratings)) / len(ratings)


def is_at_chance(rating: Rating) -> bool:
    return rating.verdict == "at chance"


def test_a_flat_curve_at_chance_is_at_chance_and_seldom_improves() -> None:
    ratings = simulated(lambda draw: np.full(27, 0.25), chance=0.25)
    assert share(ratings, is_at_chance) > 0.95
    assert share(ratings, lambda rating: rating.improved) <= 0.05
    assert share(ratings, lambda rating: rating.worsened) <= 0.05


def test_a_flat_curve_above_chance_seldom_improves() -> None:
    ratings = simulated(lambda draw: np.full(27, 0.4), chance=0.25)
    assert share(ratings, lambda rating: rating.verdict == "too noisy at this scale") > 0.95


def test_a_flat_curve_without_a_chance_level_seldom_improves() -> None:
    ratings = simulated(lambda draw: np.full(27, 0.04), n=8500)
    assert share(ratings, lambda rating: rating.improved) <= 0.05


def test_a_model_that_changes_its_favourite_letter_is_inside_the_band() -> None:
    """From checkpoint to checkpoint it answers with other letters, and knows nothing."""
    letters = np.array([0.22945, 0.24655, 0.25509, 0.26891])
    ratings = simulated(lambda draw: draw.dirichlet([0.5] * 4, 27) @ letters, chance=0.25, constant=LETTERS)
    assert share(ratings, is_at_chance) > 0.99
    assert share(ratings, lambda rating: rating.reason.startswith("inside the constant-answer band")) > 0.6


def test_a_favourite_letter_that_drifts_to_the_commonest_is_not_called_knowledge() -> None:
    ratings = simulated(lambda draw: np.linspace(*LETTERS, 27), chance=0.25, constant=LETTERS)
    assert share(ratings, is_at_chance) > 0.95
    assert share(ratings, lambda rating: "moves" in rating.reason) > 0.9  # it does, within the band


def test_a_curve_that_rises_above_chance_is_to_be_watched() -> None:
    ratings = simulated(lambda draw: np.linspace(0.25, 0.35, 27), chance=0.25, constant=LETTERS)
    assert share(ratings, lambda rating: rating.verdict == "watch" and rating.improved) > 0.99


def test_the_same_rise_on_a_hundred_docs_is_mostly_lost_in_noise() -> None:
    ratings = simulated(lambda draw: np.linspace(0.25, 0.35, 27), n=100, chance=0.25)
    assert share(ratings, lambda rating: rating.verdict == "watch") < 0.5


def test_a_curve_that_falls_is_told_as_getting_worse() -> None:
    ratings = simulated(lambda draw: np.linspace(0.6, 0.5, 27), chance=0.25)
    assert share(ratings, lambda rating: rating.worsened and rating.verdict == "watch") > 0.99


def test_metrics_without_noise_from_docs_are_rated_by_their_own_noise() -> None:
    draw = np.random.default_rng(0)
    flat, falling = [], []
    for _ in range(SIMULATIONS):
        noise = draw.normal(0, 0.05, 27)
        errors = (0.5,) * 27
        known: dict[str, Any] = {
            "steps": STEPS,
            "n": 100,
            "stderr": errors,
            "is_accuracy": False,
            "higher_is_better": False,
        }
        flat.append(rate(Points(values=tuple(2 + noise), **known)))
        falling.append(rate(Points(values=tuple(np.linspace(2, 1.8, 27) + noise), **known)))
    assert share(flat, lambda rating: rating.improved) <= 0.05
    assert share(falling, lambda rating: rating.verdict == "watch" and rating.gain_sigmas > 0) > 0.95


@pytest.fixture
def published(shared: Path) -> dict[str, Any]:
    curves: dict[str, Any] = json.loads((shared / "curves.json").read_text("utf-8"))
    return curves


def points(curve: dict[str, float], n: int, **known: Any) -> Points:
    values = tuple(value / 100 for value in curve.values())
    return Points(steps=tuple(map(int, curve)), values=values, n=n, **known)


def test_the_published_mmlu_curve_shows_no_improvement(published: dict[str, Any]) -> None:
    shares = published["mmlu_answer_share"].values()
    rating = rate(
        points(
            published["mmlu_multiple_choice_percent"],
            published["mmlu_multiple_choice_n"],
            chance=0.25,
            constant=(min(shares), max(shares)),
        )
    )
    assert rating.n_checkpoints == 27
    assert rating.verdict == "at chance"
    assert rating.reason == "inside the constant-answer band, no improvement shown"


def test_the_published_cloze_curve_is_real(published: dict[str, Any]) -> None:
    rating = rate(points(published["mmlu_fill_in_percent"], published["mmlu_fill_in_n"]))
    assert rating.verdict == "watch"
    assert rating.improved
    assert rating.gain_sigmas > 4


# ---- the quantities -----------------------------------------------------------------------------------


def test_autocorrelation_reckoned_by_hand() -> None:
    assert autocorrelation([1, 2, 3, 4, 5]) == pytest.approx((2 + 0 + 0 + 2) / 10)
    assert autocorrelation([1, -1, 1, -1]) == pytest.approx(-3 / 4)
    assert autocorrelation([2, 2, 2]) is None


def test_distance_from_chance_and_snr_reckoned_by_hand() -> None:
    values = (0.2, 0.2, 0.3, 0.3, 0.5, 0.52)
    rating = rate(Points(steps=(1, 2, 3, 4, 5, 6), values=values, n=100, chance=0.25), last=2)
    assert rating.from_chance == pytest.approx((0.51 - 0.25) / np.sqrt(0.52 * 0.48 / 100))
    assert rating.snr == pytest.approx((0.51 - 0.2) / np.std([0.5, 0.52], ddof=1))
    assert (rating.start, rating.level) == (pytest.approx(0.2), pytest.approx(0.51))


def test_lower_is_better_turns_the_signs() -> None:
    values = (3.0, 2.5, 2.2, 2.0, 1.9)
    falling = Points(steps=(1, 2, 3, 4, 5), values=values, n=10, is_accuracy=False, higher_is_better=False)
    assert rate(falling).spearman == pytest.approx(1)
    assert rate(falling).gain_sigmas > 0


@pytest.mark.parametrize(("n", "reason"), [(1, "one checkpoint: no curve"), (3, "fewer than 4: no trend")])
def test_too_few_checkpoints_are_said_to_be_too_few(n: int, reason: str) -> None:
    rating = rate(Points(steps=tuple(range(n)), values=(0.6,) * n, n=100, chance=0.25))
    assert (rating.verdict, rating.reason) == ("too few checkpoints", reason)


def test_three_checkpoints_that_guess_are_at_chance() -> None:
    rating = rate(Points(steps=(1, 2, 3), values=(0.3, 0.27, 0.29), n=100, chance=0.25))
    assert (rating.verdict, rating.reason) == ("at chance", "not above chance, no improvement shown")


def test_a_curve_that_is_exactly_constant_has_no_trend() -> None:
    rating = rate(Points(steps=(1, 2, 3, 4, 5), values=(0.0,) * 5, n=100))
    assert rating.spearman is None
    assert rating.verdict == "too noisy at this scale"
