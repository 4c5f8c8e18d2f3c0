"""The docs that a model lost or gained are those that changed, the largest change first."""

from __future__ import annotations

from milepost.analysis.changed_docs import changed_docs
from milepost.analysis.comparison import compare_models
from milepost.analysis.matching import MatchedModels
from tests.analysis.answered import RIGHT, WORSE, grouped, model, only, perplexity, right


def test_the_docs_lost_and_gained_are_those_that_changed_sides() -> None:
    before, after = right("a", [True, True, False, True]), right("a", [True, False, True, False])
    models = model(before), model(after)
    changed = changed_docs(MatchedModels(*models), only(compare_models(*models).tasks))
    assert [doc.original_doc_id for doc in changed.lost.first(9)] == [1, 3]
    assert [doc.original_doc_id for doc in changed.gained.first(9)] == [2]


def test_docs_of_a_perplexity_are_ordered_by_how_much_they_changed() -> None:
    before = perplexity("w", [10.0, 10.0, 10.0], [5, 5, 5])
    after = perplexity("w", [11.0, 15.0, 9.0], [5, 5, 5])
    models = model(before), model(after)
    changed = changed_docs(MatchedModels(*models), only(compare_models(*models).tasks))
    assert [doc.original_doc_id for doc in changed.lost.first(9)] == [1, 0]
    assert [doc.original_doc_id for doc in changed.gained.first(9)] == [2]


def test_the_docs_of_a_group_are_those_of_its_tasks() -> None:
    models = grouped(RIGHT, by_size=True), grouped(WORSE, by_size=True)
    changed = changed_docs(MatchedModels(*models), only(compare_models(*models).tasks))
    assert set(changed.lost.ids()) == {"easy", "hard"}
    assert len(changed.lost) == int((RIGHT & ~WORSE).sum())
