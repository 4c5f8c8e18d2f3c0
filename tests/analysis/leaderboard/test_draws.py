"""Draws counted in parts and added up for all models at once are those of one model after the other."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milepost.analysis.leaderboard import BoardColumn
from milepost.analysis.leaderboard.board import _quantile
from milepost.analysis.leaderboard.draws import DRAWN_TOGETHER, draw_scores
from milepost.analysis.matching import task_doc_values
from milepost.types.answers import TaskAnswers
from tests.analysis.answered import model, perplexity, right

N_DRAWS = 40


def one_by_one(tasks: list[TaskAnswers], metric: str, seed: int) -> list[Any]:
    """The draws of each model's task, from the definition: every draw is a list of docs."""
    places: dict[tuple[str, int], int] = {}
    keys = [[(doc, task.hashes()[:i].count(doc)) for i, doc in enumerate(task.hashes())] for task in tasks]
    for key in chain.from_iterable(keys):
        places.setdefault(key, len(places))
    draws = np.random.default_rng(seed).integers(len(places), size=(N_DRAWS, len(places)))
    found = []
    for task, own in zip(tasks, keys, strict=True):
        values = task_doc_values(task, metric, "none")
        assert values is not None
        numbers = np.array([places[key] for key in own])
        n, mean = len(numbers), float(np.average(values.values, weights=values.weights))
        scores = []
        for draw in draws:
            counts = np.bincount(draw, minlength=len(places))[numbers] * values.weights
            drawn = float(counts @ values.values / counts.sum()) if counts.sum() else math.nan
            scores.append(np.clip(mean + (drawn - mean) * math.sqrt(n / (n - 1)), *_ends(values.values)))
        found.append(values.transform(np.array(scores)))
    return found


def _ends(values: Any) -> tuple[float, float]:
    return float(values.min()), float(values.max())


docs = st.lists(st.sampled_from([f"doc-{i}" for i in range(14)]), min_size=10, max_size=30)


@settings(max_examples=40)
@given(docs, docs, st.randoms(use_true_random=False))
def test_shares_of_models_with_other_docs_are_drawn_exactly(
    one: list[str], other: list[str], chance: Any
) -> None:
    tasks = [right("a", [chance.random() < 0.6 for _ in own], docs=own) for own in (one, other)]
    column = BoardColumn("a", "acc", "none")
    drawn = draw_scores(list(map(model, tasks)), [column], n_draws=N_DRAWS, seed=3)
    for number, expected in enumerate(one_by_one(tasks, "acc", 3)):
        assert np.array_equal(drawn[number, column], expected, equal_nan=True)


@settings(max_examples=20)
@given(st.lists(st.floats(1, 200), min_size=10, max_size=30))
def test_weighted_means_are_drawn_to_the_last_digits(nats: list[float]) -> None:
    task = perplexity("text", nats, [float(3 + i % 4) for i in range(len(nats))])
    column = BoardColumn("text", "word_perplexity", "none")
    drawn = draw_scores([model(task)], [column], n_draws=N_DRAWS, seed=5)[0, column]
    assert drawn == pytest.approx(one_by_one([task], "word_perplexity", 5)[0], rel=1e-9)


def test_draws_in_several_parts_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    task = right("a", np.arange(50) % 3 == 0)
    column = BoardColumn("a", "acc", "none")
    whole = draw_scores([model(task)], [column], n_draws=N_DRAWS, seed=1)[0, column]
    assert len(whole) * task.n_docs < DRAWN_TOGETHER
    monkeypatch.setattr("milepost.analysis.leaderboard.draws.DRAWN_TOGETHER", 7 * task.n_docs)
    assert np.array_equal(draw_scores([model(task)], [column], n_draws=N_DRAWS, seed=1)[0, column], whole)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.sampled_from([0.025, 0.975, 0.0, 1.0]))
def test_quantiles_are_numpys(values: list[float], share: float) -> None:
    ordered = np.sort(np.array(values))
    assert _quantile(ordered, share) == float(np.quantile(ordered, share))


def _not_needed() -> list[str]:
    raise AssertionError("hashes were read")


def test_no_hash_is_read_where_models_answered_the_same_docs() -> None:
    one, other = (right("a", np.arange(50) % every == 0) for every in (3, 4))
    column = BoardColumn("a", "acc", "none")
    models = list(map(model, (one, other)))
    spied = [model(replace(task, hashes=_not_needed)) for task in (one, other)]
    drawn, again = (draw_scores(each, [column], n_draws=N_DRAWS, seed=1) for each in (models, spied))
    assert all(np.array_equal(drawn[number, column], again[number, column]) for number in (0, 1))
    assert np.allclose(drawn[0, column], one_by_one([one, other], "acc", 1)[0])
