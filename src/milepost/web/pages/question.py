"""One question: exactly what the model saw, and each checkpoint's pick and probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

from milepost.analysis.pick_bias import position_name
from milepost.errors import ResultsError
from milepost.language import Phrase, _
from milepost.report.blocks import Block, Chart, Choice, Details, Links, Question, Quote, strong
from milepost.report.formatting import NOT_MEASURED, decimals, printable_lines, step_label
from milepost.report.questions import question_record
from milepost.report.table import Cell, CellRow, Column, Table, cells, columns
from milepost.safe_text import printable
from milepost.store import pick_history as store
from milepost.types.histories import PickHistory
from milepost.web.damage import damage_lines
from milepost.web.page import NotThere, Page, PageKind, Parameter, View
from milepost.web.pages.questions import address_of
from milepost.web.query import Query

HIGHEST_DOC = 2**53


class QuestionData(TypedDict):
    """A doc as `milepost questions --json` gives it, and the probabilities of its choices."""

    question: dict[str, Any]
    probabilities: list[list[float] | None]
    damaged: dict[str, str]


def question(view: View, query: Query) -> Page:
    """Return the page of one doc."""
    history = _history(view, query)
    number = query.number("doc", 0, low=0, high=HIGHEST_DOC)
    ids = history.doc_id.tolist()
    if number not in ids:
        raise NotThere(
            f"{history.task} has no doc {number}", f"its docs are {min(ids)} to {max(ids)}" if ids else None
        )
    doc, damaged = _read(view, history, number)
    probabilities = _probabilities(history, doc)
    place = ids.index(number)
    near = [ids[i] for i in (place - 1, place + 1) if 0 <= i < len(ids)]
    return Page(
        title=_("{task}, doc {doc}", task=printable(history.task), doc=number),
        blocks=(
            Links(
                (
                    (_("All questions of {task}", task=printable(history.task)), _list_of(history, query)),
                    *((_("doc {doc}", doc=each), address_of(history, each, query)) for each in near),
                ),
                _("Other questions"),
            ),
            *damage_lines(damaged),
            *_blocks(history, doc, place, probabilities),
        ),
        data=QuestionData(
            question=question_record(history, doc), probabilities=probabilities, damaged=damaged
        ),
    )


def _history(view: View, query: Query) -> PickHistory:
    """Return the task through the series; the first ones where the address names none."""
    series, task = query.text("series"), query.text("task")
    fitting = [
        each
        for each in view.index.tasks(())
        if not each.is_group and each.has_picks and series in ("", each.series) and task in ("", each.label)
    ]
    if not fitting:
        raise NotThere("there is no such multiple-choice task", "/questions lists those that there are")
    first = fitting[0]
    found = [
        history
        for history in view.questions.histories(view.index).found
        if (history.series, history.task) == (first.series, first.label)
    ]
    if not found:
        hint = "`milepost verify RESULTS` names each record"
        raise ResultsError(Phrase("the picks of {label} are damaged", label=first.label), hint)
    return found[0]


def _read(view: View, history: PickHistory, number: int) -> tuple[store.Question, dict[str, str]]:
    """Return the doc, without log-likelihoods where their records are damaged, and the reason."""
    folder, wanted = view.index.folder, [(history, number)]
    (doc,) = store.read_questions(folder, wanted, loglikelihoods=False)
    try:
        (doc,) = store.read_questions(folder, wanted)
    except ResultsError as error:
        return doc, {"scores": error.message}
    return doc, {}


def _probabilities(history: PickHistory, doc: store.Question) -> list[list[float] | None]:
    """Return [S] the probabilities of the choices; None where the model gave no numbers."""
    import numpy as np

    from milepost.analysis.choice_values import softmax

    logs = doc.loglikelihoods or [()] * len(history.checkpoints)
    return [
        [float(each) for each in softmax(np.array([own]))[0]] if own and np.isfinite(own).all() else None
        for own in logs
    ]


def _list_of(history: PickHistory, query: Query) -> str:
    kept = Query({"lang": [query.text("lang")]} if query.text("lang") else {})
    return "/questions" + kept.having(task=history.task, series=history.series)


def _blocks(
    history: PickHistory, doc: store.Question, place: int, probabilities: Sequence[list[float] | None]
) -> Iterator[Block]:
    names = [position_name(position) for position in range(len(doc.requests))]
    contexts = {context for context, _continuation in doc.requests}
    last = probabilities[-1]
    picked = int(history.pick[-1, place])
    yield Question(
        title=_("As the model saw it"),
        prompt=printable_lines(doc.requests[0][0]) if len(contexts) == 1 else "",
        choices=tuple(
            Choice(
                name=names[position],
                text=printable_lines(text if len(contexts) == 1 else context + text),
                is_right=position in doc.right,
                note=_note(None if last is None else last[position], position == picked),
            )
            for position, (context, text) in enumerate(doc.requests)
        ),
    )
    table = _table(history, doc, place, names, probabilities)
    if len(history.checkpoints) > 1 and any(each is not None for each in probabilities):
        from milepost.report.charts.choice_curves import choice_curves

        checkpoints = list(zip(history.checkpoints, history.steps, strict=True))
        yield Chart(
            choice_curves(names, doc.right, checkpoints, probabilities).to_dict(),
            _("Probability of each choice through training"),
            _("Probability of each choice among those of the question; the right one has a thick line"),
            table,
        )
    else:
        yield table
    yield Details(_("Each request as the model saw it"), tuple(_requests(doc, names)))


def _note(probability: float | None, is_picked: bool) -> str:
    parts = [] if probability is None else [f"{probability:.1%}"]
    return " · ".join([*parts, _("picked at last")] if is_picked else parts)


def _table(
    history: PickHistory,
    doc: store.Question,
    place: int,
    names: Sequence[str],
    probabilities: Sequence[list[float] | None],
) -> Table:
    def row(i: int) -> CellRow:
        right = bool(history.right[i, place])
        margin = float(history.margin[i, place])
        of = probabilities[i]
        return cells(
            [
                step_label(history.steps[i], history.checkpoints[i]),
                Cell(position_name(int(history.pick[i, place])), "right" if right else ""),
                _("right") if right else _("wrong"),
                NOT_MEASURED if margin != margin else decimals(margin, 3),
                *(NOT_MEASURED if of is None else f"{each:.4f}" for each in of or [0.0] * len(names)),
            ]
        )

    headings = {"step": _("step"), "pick": _("pick"), "is right": _("answer"), "margin": _("margin")}
    return Table(
        (
            *columns("step", "pick", "is right", "margin", left=("pick", "is right"), headings=headings),
            *(Column(f"p({name}){'*' * (i in doc.right)}") for i, name in enumerate(names)),
        ),
        tuple(map(row, range(len(history.checkpoints)))),
        notes=(_("* right; margin: log-likelihood of the right choice over the best wrong one, in nats"),),
    )


def _requests(doc: store.Question, names: Sequence[str]) -> Iterator[Block]:
    for name, (context, continuation) in zip(names, doc.requests, strict=True):
        yield strong(_("{name}: context", name=name))
        yield Quote(printable_lines(context))
        yield strong(_("{name}: continuation that is scored", name=name))
        yield Quote(printable_lines(continuation))


PAGE = PageKind(
    name="question",
    label="",
    about="One doc: what the model saw, and each checkpoint's pick and probabilities.",
    make=question,
    data=QuestionData,
    parameters=(
        Parameter(name="series", about="The training run; default: the first."),
        Parameter(name="task", about="The multiple-choice task; default: the first."),
        Parameter(
            name="doc",
            about="The doc's place in the evaluation split.",
            kind="integer",
            lowest=0,
            highest=HIGHEST_DOC,
        ),
    ),
)
