"""Comparison reports: nothing foreign becomes markup, variants stand side by side, all say the same."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from milepost.analysis.comparison import compare_models
from milepost.report.comparison.examples import Example, Examples
from milepost.report.comparison.records import comparison_record, model_record
from milepost.report.comparison.report import comparison_markdown, comparison_page, comparison_summary
from milepost.report.comparison.study import ReportedModel, Study, Variant
from milepost.report.comparison.tables import HOW_TO_READ, headline, models_table, p_value
from milepost.report.formatting import printable_lines
from milepost.report.terminal import print_blocks
from milepost.types.answers import ModelAnswers
from milepost.types.sparsity import LayerSparsity, Sparsity
from tests.analysis.answered import group, model, perplexity, right

HOSTILE = "<script>alert(1)</script>\x1b[31m|`"
RIGHT = np.arange(120) % 4 > 0
WORSE = RIGHT & (np.arange(120) % 5 > 0)


def answers(share: np.ndarray, **changes: Any) -> ModelAnswers:
    subjects = [
        right("easy", share[:60], parents=("exam",)),
        right("hard", share[60:], parents=("exam",)),
    ]
    nats = [10.0 + i + 5 * (not share[i]) for i in range(20)]
    text = perplexity("text", nats, [5.0 + i for i in range(20)])
    return model(*subjects, text, groups=[group("exam", subjects)], **changes)


def half_empty(pattern: str = "2:4") -> Sparsity:
    layer = LayerSparsity(name="layers.0.up_proj.weight", shape=(8, 4), zeros=16, pattern=pattern)
    return Sparsity(layers=(layer,), head=None, n_parameters=64, n_zeros=16, bytes_on_disk=256)


@pytest.fixture(scope="module")
def study() -> Study:
    original = ReportedModel(
        role="original", answers=answers(RIGHT), sparsity=None, without_sparsity="it is gone"
    )
    example = Example(
        task="easy",
        doc_id=7,
        question=printable_lines(HOSTILE),
        choices=(printable_lines(HOSTILE), "b"),
        target="b",
        original_answer="b",
        other_answer=printable_lines(HOSTILE),
    )
    examples = Examples(
        task="exam",
        n_lost=1,
        n_gained=0,
        lost=(example,),
        gained=(),
        lost_ids={"easy": [7]},
        gained_ids={},
    )
    variants = []
    for role, name in (("pruned", HOSTILE), ("pruned_2", "plain")):
        pruned = ReportedModel(
            role=role,
            answers=answers(WORSE, series=name, checkpoint=name, source=f"models/{name}"),
            sparsity=half_empty(),
        )
        comparison = compare_models(original.answers, pruned.answers)
        variants.append(Variant(model=pruned, comparison=comparison, examples=[examples]))
    return Study(original=original, variants=tuple(variants))


def test_nothing_foreign_becomes_markup_in_the_page(study: Study) -> None:
    page = comparison_page(study)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "\x1b" not in page.split("<script>")[0]


def test_nothing_foreign_becomes_markup_in_markdown(study: Study) -> None:
    told = comparison_markdown(study)
    assert "<script>" not in told
    assert r"\<script\>alert(1)" in told
    tables = [line for line in told.splitlines() if line.startswith("| easy")]
    assert tables
    assert all(line.replace(r"\|", "").count("|") == 13 for line in tables)


def test_every_report_has_the_same_figures(study: Study) -> None:
    screen = Console(file=io.StringIO(), width=300)
    print_blocks(comparison_summary(study), screen)
    texts = [comparison_markdown(study), comparison_page(study), screen.file.getvalue()]
    one = study.variants[0].comparison.tasks[0]
    for text in texts:
        assert f"{one.original:.4f}" in text
        assert f"{one.other:.4f}" in text
        assert "worse" in text
        assert "50.00%" in text
        assert "zeros not counted, it is gone" in text


def test_a_narrow_window_gets_the_table_in_parts(study: Study) -> None:
    screen = Console(file=io.StringIO(), width=60)
    print_blocks(comparison_summary(study), screen)
    printed = screen.file.getvalue()
    assert "plain (1 of " in printed
    assert "…" not in printed


def test_several_variants_stand_side_by_side(study: Study) -> None:
    told = comparison_markdown(study)
    assert "**All variants**" in told
    assert told.count("\n## ") == 2 + len(study.variants)
    assert models_table(study).rows[0][0].text == "run main"


def test_two_models_of_one_name_are_told_apart(study: Study) -> None:
    same = Study(original=study.original, variants=(study.variants[1], study.variants[1]))
    assert same.label(study.original) == "run main"
    assert same.label(study.variants[1].model) == "plain (pruned_2)"


def test_the_headline_counts_the_verdicts(study: Study) -> None:
    assert headline(study, study.variants[1]).startswith("plain: worse on ")


def test_records_are_json_and_name_what_is_not_known(study: Study) -> None:
    record = json.loads(json.dumps(comparison_record(study), allow_nan=False))
    assert record["original"]["sparsity"] is None
    variant = record["variants"][1]
    assert (variant["sparsity"], variant["verdicts"]["exam"]) == (0.5, "worse")
    assert variant["examples"]["exam"]["lost_docs"] == {"easy": [7]}
    assert set(variant["subjects_hurt_most"]) == {"easy", "hard"}
    one = model_record(study.variants[1].model)
    assert one["sparsity_details"]["patterns"] == {"2:4": 1}
    assert one["tasks"]["exam"]["acc"] == pytest.approx(WORSE.mean())
    assert (one["wikitext_ppl"], one["wikitext_ppl_convention"]) == (None, None)


def test_every_column_that_needs_it_is_explained() -> None:
    for name in ("p Holm", "lost / gained", "could show", "verdict"):
        assert name in HOW_TO_READ


def test_small_p_values_are_said_to_be_small() -> None:
    assert [p_value(p) for p in (1.0, 0.0234, 0.0001, 1e-9)] == ["1.0000", "0.0234", "0.0001", "<0.0001"]
