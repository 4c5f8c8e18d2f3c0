"""One question: exactly what the model saw, and each checkpoint's pick or text, and probabilities."""

from __future__ import annotations

from typing import Any, TypedDict

from milepost.errors import ResultsError
from milepost.report.blocks import Links
from milepost.report.questions import question_record
from milepost.store import pick_history as store
from milepost.text.language import Phrase, _
from milepost.text.safe_text import printable
from milepost.types.histories import PickHistory
from milepost.web.choice_question import choice_blocks
from milepost.web.damage import damage_lines
from milepost.web.page import NotThere, Page, PageKind, Parameter, View
from milepost.web.pages.questions import address_of, has_answers
from milepost.web.query import Query
from milepost.web.text_question import text_blocks

HIGHEST_DOC = 2**53


class QuestionData(TypedDict):
    """A doc as `milepost questions --json` gives it, and the probabilities of what was scored."""

    question: dict[str, Any]
    probabilities: list[list[float] | None]
    damaged: dict[str, str]


def question(view: View, query: Query) -> Page:
    """Return the page of one doc."""
    history = _history(view, query)
    ids = history.doc_id.tolist()
    number = query.number("doc", ids[0] if ids else 0, low=0, high=HIGHEST_DOC)
    if number not in ids:
        raise NotThere(
            Phrase("{task} has no doc {number}", task=history.task, number=number),
            Phrase("its docs are {first} to {last}", first=min(ids), last=max(ids)) if ids else None,
        )
    doc, damaged = _read(view, history, number)
    place = ids.index(number)
    near = [ids[i] for i in (place - 1, place + 1) if 0 <= i < len(ids)]
    probabilities = _probabilities(doc) if history.text is None else _continuations(doc)
    probabilities = probabilities or [None] * len(history.checkpoints)
    shown = choice_blocks if history.text is None else text_blocks
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
            *shown(history, doc, place, probabilities),
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
        if has_answers(each) and series in ("", each.series) and task in ("", each.label)
    ]
    if not fitting:
        raise NotThere(
            Phrase("there is no such task with questions"), Phrase("/questions lists those that there are")
        )
    names = {(each.series, each.label) for each in fitting}
    read = view.questions.histories(view.index).found
    found = [history for history in read if (history.series, history.task) in names]
    if not found:
        raise ResultsError(
            Phrase("the answers to {task} cannot be shown", task=fitting[0].label),
            Phrase("`milepost verify RESULTS` names each damaged record"),
        )
    return found[0]


def _read(view: View, history: PickHistory, number: int) -> tuple[store.Question, dict[str, str]]:
    """Return the doc, without answers where their records are damaged, and the reason."""
    folder, wanted = view.index.folder, [(history, number)]
    try:
        (doc,) = store.read_questions(folder, wanted)
    except ResultsError as error:
        (doc,) = store.read_questions(folder, wanted, answers=False)
        return doc, {"scores": error.message}
    return doc, {}


def _probabilities(doc: store.Question) -> list[list[float] | None]:
    """Return [S] the probabilities of the choices among each other."""
    import numpy as np

    from milepost.analysis.choice_values import softmax

    return [
        [float(each) for each in softmax(np.array([own]))[0]] if own and np.isfinite(own).all() else None
        for own in doc.loglikelihoods
    ]


def _continuations(doc: store.Question) -> list[list[float] | None]:
    """Return [S] the probabilities of the continuations that were scored; None for texts."""
    import numpy as np

    scored = [place for place, (_context, text) in enumerate(doc.requests) if text]
    found = [[own[place] for place in scored] for own in doc.loglikelihoods]
    return [
        [float(each) for each in np.exp(own)] if own and np.isfinite(own).all() else None for own in found
    ]


def _list_of(history: PickHistory, query: Query) -> str:
    kept = Query({"lang": [query.text("lang")]} if query.text("lang") else {})
    return "/questions" + kept.having(task=history.task, series=history.series)


PAGE = PageKind(
    name="question",
    label="",
    about="One doc: what the model saw, and each checkpoint's pick or text, and probabilities.",
    make=question,
    data=QuestionData,
    parameters=(
        Parameter(name="series", about="The training run; default: the first."),
        Parameter(name="task", about="A task that offers choices or asks for texts; default: the first."),
        Parameter(
            name="doc",
            about="The doc's place in the evaluation split; default: the first.",
            kind="integer",
            lowest=0,
            highest=HIGHEST_DOC,
        ),
    ),
)
