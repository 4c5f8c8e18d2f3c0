"""Two models are compared doc by doc, and no more is said than their docs say."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from milepost.analysis.comparison import compare_models
from milepost.analysis.paired import Flips, mcnemar, paired_means
from tests.analysis.answered import RIGHT, WORSE, grouped, model, only, perplexity, right


def test_with_different_tokenizers_only_perplexities_per_byte_are_compared() -> None:
    def rolling(factor: float) -> list[Any]:
        nats = [factor * 3.0 * (10 + i) for i in range(20)]
        words = perplexity("wikitext", nats, [10.0 + i for i in range(20)])
        lengths = perplexity("wikitext", nats, [50.0 + i for i in range(20)], metric="byte_perplexity")
        return [
            dataclasses.replace(
                words,
                measurements=words.measurements + lengths.measurements,
                values={**words.values, **lengths.values},
            )
        ]

    found = compare_models(
        model(*rolling(1.0), right("a", RIGHT)),
        model(*rolling(1.2), right("a", WORSE), tokenizer="llama"),
    )
    assert [(one.task, one.metric) for one in found.tasks] == [("wikitext", "byte_perplexity"), ("a", "acc")]
    assert found.others == ()
    assert not found.same_tokenizer
    assert "different tokenizers" in found.notes[0]


def test_a_group_by_size_is_compared_over_all_of_its_docs() -> None:
    found = compare_models(grouped(RIGHT, by_size=True), grouped(WORSE, by_size=True))
    one = only(found.tasks)
    lost = int((RIGHT & ~WORSE).sum())
    assert (one.task, one.kind, one.docs.common) == ("exam", "group", 200)
    assert (one.p_value, one.flips) == (mcnemar(lost, 0), Flips(lost, 0))
    assert {one.task for one in found.subjects} == {"easy", "hard"}
    assert [one.task for one in found.hurt_most(1)] == [max(found.subjects, key=lambda s: s.loss).task]


def test_a_group_of_equal_tasks_is_weighed_as_lm_eval_weighs_it() -> None:
    one = only(compare_models(grouped(RIGHT, by_size=False), grouped(WORSE, by_size=False)).tasks)
    expected = [(answers[:150].mean() + answers[150:].mean()) / 2 for answers in (RIGHT, WORSE)]
    assert (one.original, one.other) == (pytest.approx(expected[0]), pytest.approx(expected[1]))
    strata = np.repeat([0, 1], [150, 50])
    found = paired_means(
        RIGHT.astype(float), WORSE.astype(float), weights=1 / np.where(strata, 50.0, 150.0), strata=strata
    )
    assert one.difference == pytest.approx(expected[1] - expected[0])
    assert one.interval == pytest.approx(found.interval)
    assert one.flips is not None
