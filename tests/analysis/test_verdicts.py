"""Verdicts say no more than the docs show."""

from __future__ import annotations

import math

import numpy as np
import pytest

from milepost.analysis.comparison import compare_models
from milepost.analysis.paired import Flips, mcnemar
from tests.analysis.answered import RIGHT, WORSE, model, only, perplexity, right, task


def test_a_right_or_wrong_task_is_tested_by_mcnemar_and_its_flips_are_counted() -> None:
    one = only(compare_models(model(right("a", RIGHT)), model(right("a", WORSE))).tasks)
    lost = int((RIGHT & ~WORSE).sum())
    assert (one.original, one.other) == (pytest.approx(RIGHT.mean()), pytest.approx(WORSE.mean()))
    assert one.difference == pytest.approx(one.other - one.original)
    assert one.relative == pytest.approx(one.difference / one.original)
    assert (one.test, one.flips, one.p_value) == ("exact McNemar", Flips(lost, 0), mcnemar(lost, 0))
    assert one.verdict == "worse"
    assert one.interval.high is not None
    assert one.interval.high < 0


def test_the_other_way_round_the_verdict_is_better() -> None:
    one = only(compare_models(model(right("a", WORSE)), model(right("a", RIGHT))).tasks)
    assert (one.verdict, one.loss) == ("better", -one.difference)


def test_a_model_against_itself_has_no_flips_and_no_verdict() -> None:
    same = model(right("a", RIGHT), perplexity("w", [30.0, 40.0], [10, 12]))
    found = compare_models(same, same)
    assert [(one.verdict, one.p_adjusted, one.difference) for one in found.tasks] == [
        ("not distinguishable", 1.0, 0.0),
        ("too few docs to tell", 1.0, 0.0),
    ]
    assert found.tasks[0].flips == Flips(0, 0)
    assert "both are the same weights" in found.notes


def test_percentages_are_right_or_wrong_too() -> None:
    """squadv2's exact match is 0 or 100 for each doc."""
    before, after = RIGHT * 100.0, WORSE * 100.0
    one = only(
        compare_models(
            model(task("squadv2", metric="exact", values=before)),
            model(task("squadv2", metric="exact", values=after)),
        ).tasks
    )
    assert one.test == "exact McNemar"
    assert one.difference == pytest.approx(after.mean() - before.mean())
    assert one.smallest > 1


def test_of_docs_that_are_all_wrong_the_difference_is_in_the_unit_of_the_task() -> None:
    none_right = task("a", metric="HasAns_exact", values=[0.0] * 8)
    one = only(compare_models(model(none_right), model(none_right)).tasks)
    assert one.interval.high == pytest.approx(27.7, abs=0.1)
    assert (
        only(compare_models(model(right("a", [False] * 8)), model(right("a", [False] * 8))).tasks).smallest
        <= 1
    )


def test_f1_is_tested_by_its_mean_over_the_docs_that_count() -> None:
    before = [0.5, 0.25, None, 1.0] * 20
    after = [0.4, 0.2, None, 1.0] * 20
    one = only(
        compare_models(
            model(task("a", metric="f1", values=before)), model(task("a", metric="f1", values=after))
        ).tasks
    )
    assert (one.test, one.flips, one.docs.common, one.verdict) == ("paired t", None, 60, "worse")
    assert one.difference == pytest.approx(-0.05)


def test_a_perplexity_is_weighed_by_words_and_lower_is_better() -> None:
    nats, words = np.linspace(50, 90, 30), np.linspace(10, 20, 30)
    before = perplexity("wikitext", list(nats), list(words))
    after = perplexity("wikitext", list(nats * 1.1), list(words))
    one = only(compare_models(model(before), model(after)).tasks)
    assert one.original == pytest.approx(np.exp(nats.sum() / words.sum()))
    assert (one.verdict, one.test) == ("worse", "paired t")
    assert one.difference > 0


def test_holm_is_over_the_tasks() -> None:
    six_lost = np.arange(100) >= 6
    before, after = np.ones(100, bool), six_lost
    alone = compare_models(model(right("a", before)), model(right("a", after)))
    assert alone.tasks[0].verdict == "worse"
    names = [f"same-{i}" for i in range(4)]
    same = [right(name, before) for name in names]
    among = compare_models(model(right("a", before), *same), model(right("a", after), *same))
    assert among.tasks[0].p_value == alone.tasks[0].p_value
    assert among.tasks[0].p_adjusted == pytest.approx(5 * alone.tasks[0].p_value)
    assert among.tasks[0].verdict == "not distinguishable"


def test_equally_good_models_get_a_verdict_in_at_most_five_of_a_hundred_pairs() -> None:
    """500 pairs on the same docs: answers right or wrong, F1 scores and a perplexity; alone and together."""
    generator = np.random.default_rng(7)
    alarms = {"a": 0, "f1": 0, "wikitext": 0, "any": 0}
    for _ in range(500):
        ease = generator.random(120)
        words = generator.integers(20, 400, 40).astype(float)
        hardness = generator.gamma(4, 1, 40)
        models = [
            model(
                right("a", generator.random(120) < ease),
                task("f1", metric="f1", values=np.clip(ease + generator.normal(0, 0.3, 120), 0, 1).round(2)),
                perplexity("wikitext", list(words * (hardness + generator.normal(0, 0.1, 40))), list(words)),
            )
            for _ in range(2)
        ]
        found = compare_models(*models)
        for one in found.tasks:
            alarms[one.task] += one.p_value < 0.05
        alarms["any"] += any(one.verdict != "not distinguishable" for one in found.tasks)
    assert max(alarms.values()) <= 25, alarms


@pytest.mark.parametrize("docs", [1, 2, 5])
def test_of_too_few_docs_no_verdict_is_given_and_that_is_said(docs: int) -> None:
    before = model(right("a", [False] * docs), perplexity("w", [90.0] * docs, [10.0] * docs))
    after = model(right("a", [True] * docs), perplexity("w", [10.0] * docs, [10.0] * docs))
    for one in compare_models(before, after).tasks:
        assert one.verdict == "too few docs to tell"
        assert one.smallest == math.inf
        assert one.p_adjusted > 0.05


def test_what_could_be_shown_counts_the_other_tests() -> None:
    alone = compare_models(model(right("a", RIGHT)), model(right("a", WORSE))).tasks[0]
    names = [f"other-{i}" for i in range(20)]
    among = compare_models(
        model(right("a", RIGHT), *(right(name, RIGHT) for name in names)),
        model(right("a", WORSE), *(right(name, RIGHT) for name in names)),
    ).tasks[0]
    assert among.smallest > alone.smallest * 1.2


def test_holm_over_sixty_tasks_still_sees_what_is_clear() -> None:
    """Whatever the number of docs: tails are formulas, not counts of draws."""
    random = np.random.default_rng(1)
    scores = np.clip(random.normal(0.5, 0.2, 400), 0, 1)
    clear = [task("f", metric="f1", values=list(scores)), task("f", metric="f1", values=list(scores - 0.05))]
    noisy = clear[1].values["f1", "none"] + random.normal(0, 0.1, 400)
    clear[1] = task("f", metric="f1", values=list(noisy))
    others = [right(f"t{i}", RIGHT) for i in range(300)]
    found = compare_models(model(clear[0], *others), model(clear[1], *others))
    assert found.tasks[0].verdict == "worse"
