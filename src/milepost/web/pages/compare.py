"""Compare: any two checkpoints or models, doc by doc."""

from __future__ import annotations

from typing import Any, TypedDict

from milepost.errors import ResultsError
from milepost.language import _
from milepost.report.blocks import Block, Controls, Field, Note, Option
from milepost.report.comparison.records import comparison_record
from milepost.report.comparison.report import comparison_blocks
from milepost.report.comparison.study import ReportedModel, Study, make_study
from milepost.report.formatting import model_name
from milepost.store.doc_records import read_answers
from milepost.store.index import ResultsIndex
from milepost.store.sparsity import read_sparsity
from milepost.web.page import NotThere, Page, PageKind, Parameter, View
from milepost.web.query import Query

EXAMPLES = 3
"""Docs lost, and gained, that are shown of each task."""


class CompareData(TypedDict):
    """The models that can be compared, and the comparison as `milepost compare --json` has it."""

    models: list[str]
    original: str | None
    other: str | None
    comparison: dict[str, Any] | None


def compare(view: View, query: Query) -> Page:
    """Return the comparison of two checkpoints."""
    title = _("Compare")
    models = _models(view.index)
    if len(models) < 2:
        nothing = CompareData(models=list(models), original=None, other=None, comparison=None)
        two = _("There is nothing to compare yet: that takes two checkpoints with metrics.")
        return Page(title=title, blocks=(Note(two),), data=nothing)
    original = _one(query.text("a"), models, _defaults(view.index, models)[0])
    other = _one(query.text("b"), models, _defaults(view.index, models)[1])
    blocks: list[Block] = [_controls(models, original, other)]
    study = None
    if original == other:
        blocks.append(Note(_("Choose two different checkpoints.")))
    else:
        try:
            study = read_study(view.index, original, other)
        except ResultsError as error:
            blocks.append(Note(error.message))
    if study is not None:
        blocks += comparison_blocks(study)
    data = CompareData(
        models=list(models),
        original=original,
        other=other,
        comparison=comparison_record(study) if study else None,
    )
    return Page(title=title, blocks=tuple(blocks), data=data)


def read_study(index: ResultsIndex, original: str, other: str) -> Study | None:
    """Compare two checkpoints, by their `series/checkpoint` names.

    Raises:
        ResultsError: they have no doc in common, or a record is damaged.
    """
    models = []
    for role, name in (("original", original), ("other", other)):
        answers = read_answers(index, name)
        models.append(
            ReportedModel(
                role=role,
                answers=answers,
                sparsity=read_sparsity(index.folder, answers.model_id),
                without_sparsity=_("`milepost compare` counts them"),
                newest=index.newest,
            )
        )
    return make_study(models, EXAMPLES)


def _models(index: ResultsIndex) -> dict[str, str]:
    """Return the checkpoints with metrics, by `series/checkpoint`, with their names for people."""
    return {
        each.full_name: model_name(each.series, each.name)
        for each in index.checkpoints()
        if (each.series, each.name) in index.scored
    }


def _defaults(index: ResultsIndex, models: dict[str, str]) -> tuple[str, str]:
    """Return the last checkpoints of the first two series, or the first and the last of one series."""
    last = {name.rpartition("/")[0]: name for name in models}
    names = list(last.values()) if len(last) > 1 else [next(iter(models)), list(models)[-1]]
    return names[0], names[1]


def _one(given: str, models: dict[str, str], default: str) -> str:
    if given and given not in models:
        raise NotThere(f"no checkpoint {given[:80]}", f"there are: {', '.join(list(models)[:12])}")
    return given or default


def _controls(models: dict[str, str], original: str, other: str) -> Controls:
    options = tuple(Option(name, text) for name, text in models.items())
    return Controls(
        (
            Field("a", _("Original"), "one", options, (original,)),
            Field("b", _("Other"), "one", options, (other,)),
        ),
        _("What is compared"),
    )


PAGE = PageKind(
    name="compare",
    label="Compare",
    about="Two checkpoints or models, doc by doc: paired differences, docs lost and gained, zeros by layer.",
    make=compare,
    data=CompareData,
    parameters=(
        Parameter(
            name="a", about="SERIES/CHECKPOINT; default: the first checkpoint, or of two series the last"
        ),
        Parameter(name="b", about="SERIES/CHECKPOINT; default: the last checkpoint"),
    ),
)
