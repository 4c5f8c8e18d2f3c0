"""Compare: any two checkpoints or models, doc by doc."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from milepost.errors import ResultsError
from milepost.report.blocks import Block, Controls, Field, Note, Option
from milepost.report.comparison.records import comparison_record
from milepost.report.comparison.report import comparison_blocks
from milepost.report.comparison.study import ReportedModel, Study, make_study
from milepost.report.formatting import model_name
from milepost.store.doc_records import read_answers
from milepost.store.live_index import Home
from milepost.store.records import CheckpointRecord
from milepost.store.sparsity import read_sparsity
from milepost.store.united_index import FolderIndex
from milepost.text.language import Phrase, _
from milepost.text.safe_text import printable
from milepost.web.choices import chosen
from milepost.web.page import Page, PageKind, Parameter, View
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
    original, other = (
        chosen(query.text(name), list(models), "checkpoint", own)
        for name, own in zip("ab", _defaults(models), strict=True)
    )
    blocks: list[Block] = [_controls(models, original, other)]
    study = None
    if original == other:
        blocks.append(Note(_("Choose two different checkpoints.")))
    else:
        try:
            study = read_study(view.index, models[original], models[other])
        except ResultsError as error:
            blocks.append(Note(printable(error.message)))
    if study is not None:
        blocks += comparison_blocks(study)
    data = CompareData(
        models=list(models),
        original=original,
        other=other,
        comparison=comparison_record(study) if study else None,
    )
    return Page(title=title, blocks=tuple(blocks), data=data)


def read_study(index: FolderIndex, original: CheckpointRecord, other: CheckpointRecord) -> Study | None:
    """Compare two checkpoints, which may lie in two folders.

    Raises:
        ResultsError: they have no doc in common, or a record is damaged.
    """
    models = []
    roles = {"original": original, "other": other}
    command = _command([(index.home(one), one.name) for one in roles.values()])
    for role, checkpoint in roles.items():
        home = index.home(checkpoint)
        answers = read_answers(index, checkpoint.full_name)
        models.append(
            ReportedModel(
                role=role,
                answers=replace(answers, results=home.part.folder.path),
                sparsity=read_sparsity(index.folder, answers.model_id),
                without_sparsity=Phrase("`{command}` counts them", command=command),
                newest=home.part.newest,
            )
        )
    return make_study(models, EXAMPLES)


def _command(compared: Sequence[tuple[Home, str]]) -> str:
    """Return the command line that compares the same checkpoints, and reads their weights as well."""
    named = [f"{home.part.folder.path}@{home.series}/{name}" for home, name in compared]
    return shlex.join(["milepost", "compare", *named])


def _models(index: FolderIndex) -> dict[str, CheckpointRecord]:
    """Return the checkpoints with metrics, by `series/checkpoint`."""
    return {each.full_name: each for each in index.checkpoints() if (each.series, each.name) in index.scored}


def _defaults(models: Mapping[str, CheckpointRecord]) -> tuple[str, str]:
    """Return the last checkpoints of the first two series, or the first and the last of one series."""
    last = {record.series: name for name, record in models.items()}
    names = list(last.values()) if len(last) > 1 else [next(iter(models)), list(models)[-1]]
    return names[0], names[1]


def _controls(models: Mapping[str, CheckpointRecord], original: str, other: str) -> Controls:
    options = tuple(Option(name, model_name(record.series, record.name)) for name, record in models.items())
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
