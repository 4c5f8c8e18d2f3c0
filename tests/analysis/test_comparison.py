"""Two models are compared doc by doc, and no more is said than their docs say."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from milepost.analysis.changed_docs import changed_docs
from milepost.analysis.comparison import compare_models
from milepost.analysis.paired import Flips, mcnemar, paired_means
from milepost.analysis.verdicts import MetricDifference
from tests.analysis.answered import group, model, perplexity, right, task

GENERATOR = np.random.default_rng(0)
RIGHT = GENERATOR.random(200) < 0.7
WORSE = RIGHT & (GENERATOR.random(200) < 0.8)


def only(found: tuple[MetricDifference, ...]) -> MetricDifference:
    (one,) = found
    return one


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


def test_docs_are_matched_by_their_hash_whatever_their_order_and_number() -> None:
    docs = [f"doc-{i}" for i in range(200)]
    shuffled = GENERATOR.permutation(200)[:150]
    other = right("a", WORSE[shuffled], docs=[docs[i] for i in shuffled], version="2.0")
    found = compare_models(model(right("a", RIGHT, docs=docs)), model(other))
    one = only(found.tasks)
    assert one.docs == (150, 200, 150)
    assert one.flips == Flips(int((RIGHT & ~WORSE)[shuffled].sum()), 0)
    assert one.original == pytest.approx(RIGHT[shuffled].mean())
    assert "a: version 1.0 of the task against version 2.0" in found.notes
    assert "a: 150 docs in common of 200 and 150" in found.notes


def test_differences_in_the_settings_of_a_task_are_noted() -> None:
    prompts = ["other words"] * 3 + [f"a-{i}" for i in range(3, 200)]
    before = right("a", RIGHT, generation={"until": ["\n"], "max_gen_toks": 64})
    after = right("a", WORSE, prompts=prompts, generation={"until": ["\n"]}, version="2.0", num_fewshot=5)
    assert compare_models(model(before), model(after, model_id="1" * 64)).notes == (
        "a: version 1.0 of the task against version 2.0",
        "a: 0-shot against 5-shot",
        "a: texts with max_gen_toks 64 against not set",
        "a: 200 docs in common of 200 and 200",
        "a: 3 of the 200 docs in common with other prompts",
    )
    assert compare_models(model(before), model(before, model_id="1" * 64)).notes == ()


def test_docs_that_occur_twice_are_matched_once_each() -> None:
    before = right("a", [True, False, True], docs=["x", "x", "y"])
    after = right("a", [True, True, True, True], docs=["y", "x", "x", "x"])
    one = only(compare_models(model(before), model(after)).tasks)
    assert (one.docs.common, one.flips) == (3, Flips(0, 1))


def test_a_task_without_a_common_doc_is_named_and_not_compared() -> None:
    found = compare_models(
        model(right("a", RIGHT), right("b", RIGHT)),
        model(right("a", RIGHT, docs=[str(i) for i in range(200)]), right("c", RIGHT)),
    )
    assert found.tasks == ()
    assert {(one.what, one.reason) for one in found.uncompared} == {
        ("a", "no doc in common (200 and 200 docs)"),
        ("b", "only the original was evaluated on it"),
        ("c", "only the other was evaluated on it"),
    }


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


def test_a_metric_that_is_not_a_mean_over_docs_is_not_tested() -> None:
    odd = task("cola", metric="mcc", values=[0.0, 1.0, 1.0], stored=0.123)
    found = compare_models(model(odd), model(odd))
    assert found.tasks == ()
    assert found.uncompared[0].what == "cola mcc"


def test_a_task_without_metrics_is_not_compared() -> None:
    lacking = right("a", RIGHT)
    lacking = dataclasses.replace(
        lacking, values={}, measurements=(dataclasses.replace(lacking.measurements[0], value=None),)
    )
    assert compare_models(model(right("a", RIGHT)), model(lacking)).uncompared == (
        ("a acc", "one of the models does not have this metric"),
    )


# ---- groups --------------------------------------------------------------------------------------------


def grouped(answers: np.ndarray, *, by_size: bool) -> Any:
    tasks = [
        right("easy", answers[:150], parents=("exam",)),
        right("hard", answers[150:], parents=("exam",)),
    ]
    return model(*tasks, groups=[group("exam", tasks, by_size=by_size)])


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


def test_a_group_with_a_task_missing_is_not_compared_as_a_whole() -> None:
    tasks = [right("easy", RIGHT[:150], parents=("exam",))]
    partly = model(*tasks, groups=[group("exam", tasks)])
    found = compare_models(grouped(RIGHT, by_size=True), partly)
    assert ("exam acc", "only 1 of its 2 tasks could be compared") in found.uncompared
    assert [one.task for one in found.subjects] == ["easy"]


# ---- many tests ----------------------------------------------------------------------------------------


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


# ---- the docs behind it --------------------------------------------------------------------------------


def test_the_docs_lost_and_gained_are_those_that_changed_sides() -> None:
    before, after = right("a", [True, True, False, True]), right("a", [True, False, True, False])
    models = model(before), model(after)
    changed = changed_docs(*models, only(compare_models(*models).tasks))
    assert [doc.original_doc_id for doc in changed.lost] == [1, 3]
    assert [doc.original_doc_id for doc in changed.gained] == [2]


def test_docs_of_a_perplexity_are_ordered_by_how_much_they_changed() -> None:
    before = perplexity("w", [10.0, 10.0, 10.0], [5, 5, 5])
    after = perplexity("w", [11.0, 15.0, 9.0], [5, 5, 5])
    models = model(before), model(after)
    changed = changed_docs(*models, only(compare_models(*models).tasks))
    assert [doc.original_doc_id for doc in changed.lost] == [1, 0]
    assert [doc.original_doc_id for doc in changed.gained] == [2]


def test_the_docs_of_a_group_are_those_of_its_tasks() -> None:
    models = grouped(RIGHT, by_size=True), grouped(WORSE, by_size=True)
    changed = changed_docs(*models, only(compare_models(*models).tasks))
    assert {doc.task for doc in changed.lost} == {"easy", "hard"}
    assert len(changed.lost) == int((RIGHT & ~WORSE).sum())


# ---- few docs ------------------------------------------------------------------------------------------


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
    scores = np.clip(GENERATOR.normal(0.5, 0.2, 400), 0, 1)
    clear = [task("f", metric="f1", values=list(scores)), task("f", metric="f1", values=list(scores - 0.05))]
    noisy = clear[1].values["f1", "none"] + GENERATOR.normal(0, 0.1, 400)
    clear[1] = task("f", metric="f1", values=list(noisy))
    others = [right(f"t{i}", RIGHT) for i in range(300)]
    found = compare_models(model(clear[0], *others), model(clear[1], *others))
    assert found.tasks[0].verdict == "worse"


def test_a_group_is_compared_over_the_docs_of_its_own_metric() -> None:
    """One of its tasks was asked anew, alone and with fewer docs."""
    before, after = grouped(RIGHT, by_size=True), grouped(WORSE, by_size=True)
    fewer = right("hard", WORSE[150:160])
    rerun = dataclasses.replace(
        after,
        tasks={**after.tasks, "hard": fewer},
        groups={
            "exam": dataclasses.replace(after.groups["exam"], earlier_tasks={"hard": after.tasks["hard"]})
        },
    )
    found = compare_models(before, rerun)
    assert only(found.tasks).docs.common == 200
    assert only(found.tasks).other == pytest.approx(WORSE.mean())
    assert {one.task: one.docs.common for one in found.subjects} == {"easy": 150, "hard": 10}
