"""The metrics that come free with the log-likelihoods of a task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from milepost.analysis.choice_metrics import HIGHER_IS_BETTER, free_metrics, pick_metrics
from milepost.analysis.choice_values import doc_metrics
from milepost.analysis.constant_answer import count_picks
from tests.analysis.offers import letters, offered


def always(letter: int, n: int, n_choices: int = 4) -> np.ndarray:
    """Log-likelihoods of a model that gives the same letter whatever the question."""
    logs = np.full((n, n_choices), np.log(0.1))
    logs[:, letter] = np.log(0.6)
    return logs.ravel()


@pytest.mark.parametrize("letter", range(4))
def test_balanced_accuracy_of_a_constant_answer_is_chance_whatever_the_letter(letter: int) -> None:
    right = np.random.default_rng(0).choice(4, size=1000, p=[0.4, 0.3, 0.2, 0.1])
    choices = letters(right)
    found = free_metrics(choices, doc_metrics(choices, always(letter, 1000)))
    assert found["acc"].value == pytest.approx(float(np.mean(right == letter)))
    assert found["acc_balanced"].value == pytest.approx(0.25)
    assert found["acc_balanced"].chance == pytest.approx(0.25)


def test_a_position_that_few_docs_have_does_not_weigh_as_much_as_the_others() -> None:
    choices = offered(*["*a b", "a *b"] * 50, "a b c d *e")
    logs = np.concatenate([np.tile([-1.0, -2.0], 100), [-1.0, -2.0, -2.0, -2.0, -2.0]])
    found = free_metrics(choices, doc_metrics(choices, logs))
    assert found["acc_balanced"].value == pytest.approx(0.5 * 100 / 101)


def test_chance_counts_the_choices_of_each_doc() -> None:
    choices = offered("*a b", "*a b c d", "*a *b c d")
    found = free_metrics(choices, doc_metrics(choices, np.linspace(-1, -2, 10)))
    assert found["acc"].chance == pytest.approx((1 / 2 + 1 / 4 + 2 / 4) / 3)


def test_means_leave_out_docs_without_a_value_and_count_the_others() -> None:
    choices = offered("*a b", "a b")
    found = free_metrics(choices, doc_metrics(choices, np.log([0.5, 0.1, 0.5, 0.1])))
    assert (found["acc"].value, found["acc"].n) == (0.5, 2)
    assert (found["bpb_right"].value, found["bpb_right"].n) == (pytest.approx(1.0), 1)
    assert found["bpb_right"].stderr is None


@pytest.mark.parametrize("metric", [m for m in HIGHER_IS_BETTER if m != "ece" and "pick" not in m])
def test_standard_errors_are_those_of_repeated_draws(metric: str) -> None:
    draw = np.random.default_rng(2)
    found: list[Any] = []
    for _ in range(300):
        choices = letters(draw.choice(4, size=200, p=[0.4, 0.3, 0.2, 0.1]))
        logs = np.where(choices.right, -1.0, -1.5) + draw.normal(0, 1, len(choices)).clip(max=1.0)
        found.append(free_metrics(choices, doc_metrics(choices, logs))[metric])
    spread = float(np.std([one.value for one in found], ddof=1))
    assert np.mean([one.stderr for one in found]) == pytest.approx(spread, rel=0.15)


def test_a_constant_answer_is_visible_in_the_metrics_of_picks() -> None:
    right = np.array([0, 1, 2, 3])
    choices = letters(right)
    found = pick_metrics(count_picks(choices, doc_metrics(choices, always(1, 4))))
    assert found["pick_entropy"].value == 0
    assert found["pick_bias"].value == pytest.approx(0.75)
    assert {*free_metrics(choices, doc_metrics(choices, always(1, 4))), *found} == set(HIGHER_IS_BETTER)
