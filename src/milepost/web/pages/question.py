"""One question: exactly what the model saw, and each checkpoint's pick or text, and probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

from milepost.analysis.pick_bias import position_name
from milepost.errors import ResultsError
from milepost.language import Phrase, _
from milepost.report.blocks import Block, Chart, Choice, Details, Facts, Links, Question, Quote, strong
from milepost.report.charts.choice_curves import choice_curves
from milepost.report.formatting import NOT_MEASURED, decimals, printable_lines, step_label
from milepost.report.questions import question_record
from milepost.report.table import Cell, Column, Table, cells, columns
from milepost.safe_text import printable
from milepost.store import pick_history as store
from milepost.types.histories import PickHistory
from milepost.web.damage import damage_lines
from milepost.web.page import NotThere, Page, PageKind, Parameter, View
from milepost.web.pages.questions import address_of, has_answers
from milepost.web.query import Query

HIGHEST_DOC = 2**53
LONG_PROMPT, SHOWN_OF_LONG = 1500, 900
"""Characters from which on a prompt is folded, and those of its end that are shown: examples come first."""

Shares = Sequence[list[float] | None]
"""[S] of numbers from 0 to 1; None where the model gave none."""


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
    shown = _choices if history.text is None else _text
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


# ---- a question with choices ---------------------------------------------------------------------------


def _choices(history: PickHistory, doc: store.Question, place: int, shares: Shares) -> Iterator[Block]:
    names = [position_name(position) for position in range(len(doc.requests))]
    contexts = {context for context, _continuation in doc.requests}
    last = shares[-1]
    picked = int(history.pick[-1, place])
    before, end = _split(doc.requests[0][0]) if len(contexts) == 1 else ((), "")
    yield Question(
        title=_("As the model saw it"),
        prompt=end,
        blocks=before,
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
    marked = [f"p({name}){'*' * (i in doc.right)}" for i, name in enumerate(names)]
    picks = [
        Cell(position_name(pick), "right" if right else "")
        for pick, right in zip(history.pick[:, place].tolist(), history.right[:, place].tolist(), strict=True)
    ]
    table = Table(
        (
            *columns("step", "pick", "answer", "margin", left=("pick", "answer")),
            *map(Column, marked),
        ),
        _rows(history, place, picks, shares, len(names)),
        notes=(_("* right; margin: log-likelihood of the right choice over the best wrong one, in nats"),),
    )
    yield _figure(
        history,
        names,
        doc.right,
        shares,
        table,
        _("Probability of each choice through training"),
        _("n = 1 doc, so there is no interval · probability of each choice among those of the question · ")
        + _("the right one has a thick line"),
    )
    yield Details(_("Each request as the model saw it"), tuple(_requests(doc, names)))


def _note(probability: float | None, is_picked: bool) -> str:
    parts = [] if probability is None else [f"{probability:.1%}"]
    return " · ".join([*parts, _("picked at last")] if is_picked else parts)


# ---- a question with a text as its answer --------------------------------------------------------------


def _text(history: PickHistory, doc: store.Question, place: int, shares: Shares) -> Iterator[Block]:
    assert history.text is not None
    scored = [printable(text.strip()) for _context, text in doc.requests if text]
    facts = [(_("right"), printable_lines(doc.target))]
    facts += [(_("continuation that is scored"), text) for text in scored]
    before, end = _split(doc.requests[0][0])
    yield Question(title=_("As the model saw it"), prompt=end, blocks=(*before, Facts(tuple(facts))))
    names = ["p"] if len(scored) == 1 else [f"p({i + 1})" for i in range(len(scored))]
    answers = [
        Cell(_shown(text), "right" if right else "")
        for text, right in zip(doc.texts, history.right[:, place].tolist(), strict=False)
    ] or [Cell(NOT_MEASURED)] * len(history.checkpoints)
    metric = history.text.metric
    table = Table(
        (
            Column("step"),
            Column("what it says", align="left", wraps=True),
            Column("answer", align="left"),
            Column(metric),
            *(map(Column, names) if scored else ()),
        ),
        _rows(history, place, answers, shares, len(names) if scored else 0),
        notes=(_("right: {metric} is at least 0.5", metric=metric),),
    )
    if any(each is not None for each in shares):
        label = _("Probability of the continuation through training")
        caption = _("n = 1 doc, so there is no interval · probability of the continuation after the context")
        yield _figure(history, names, range(len(names)), shares, table, label, caption, log=True)
    else:
        yield table
    if any(doc.written):
        yield Details(_("What each checkpoint wrote"), tuple(_written(history, doc)))
    requests = [str(number + 1) for number in range(len(doc.requests))]
    yield Details(_("Each request as the model saw it"), tuple(_requests(doc, requests)))


def _shown(answer: str) -> str:
    if isinstance(answer, Phrase):
        return answer
    return printable(answer.strip()) or _("(nothing)")


def _written(history: PickHistory, doc: store.Question) -> Iterator[Block]:
    for step, checkpoint, text in zip(history.steps, history.checkpoints, doc.written, strict=True):
        yield strong(step_label(step, checkpoint))
        yield Quote(printable_lines(text) or _("(nothing)"))


def _split(prompt: str) -> tuple[tuple[Block, ...], str]:
    """Return a long prompt in two: what stands before the last examples, folded, and its end."""
    if len(prompt) <= LONG_PROMPT:
        return (), printable_lines(prompt)
    cut = prompt.find("\n", len(prompt) - SHOWN_OF_LONG) + 1 or len(prompt) - SHOWN_OF_LONG
    summary = _("{n} characters before it", n=format(cut, ","))
    return (Details(summary, (Quote(printable_lines(prompt[:cut])),)),), printable_lines(prompt[cut:])


# ---- both ----------------------------------------------------------------------------------------------


def _rows(
    history: PickHistory, place: int, answers: Sequence[Cell], shares: Shares, width: int
) -> tuple[tuple[Cell, ...], ...]:
    """Return a row per checkpoint: its answer, whether that is right, margin or value, probabilities."""
    nothing = [NOT_MEASURED] * width
    return tuple(
        cells(
            [
                step_label(step, checkpoint),
                answer,
                _("right") if right else _("wrong"),
                NOT_MEASURED if value != value else decimals(value, 3),
                *(nothing if of is None else [f"{each:.4f}" for each in of]),
            ]
        )
        for step, checkpoint, answer, right, value, of in zip(
            history.steps,
            history.checkpoints,
            answers,
            history.right[:, place].tolist(),
            history.margin[:, place].tolist(),
            shares,
            strict=True,
        )
    )


def _figure(
    history: PickHistory,
    names: Sequence[str],
    thick: Sequence[int],
    shares: Shares,
    table: Table,
    label: str,
    caption: str,
    *,
    log: bool = False,
) -> Block:
    """Return lines through training with the table behind them; of one checkpoint the table alone."""
    if len(history.checkpoints) < 2 or all(each is None for each in shares):
        return table
    checkpoints = list(zip(history.checkpoints, history.steps, strict=True))
    spec = choice_curves(names, thick, checkpoints, shares, log=log)
    return Chart(spec, label, caption, table, title=label)


def _requests(doc: store.Question, names: Sequence[str]) -> Iterator[Block]:
    for name, (context, continuation) in zip(names, doc.requests, strict=True):
        yield strong(_("{name}: context", name=name))
        yield Quote(printable_lines(context))
        if continuation:
            yield strong(_("{name}: continuation that is scored", name=name))
            yield Quote(printable_lines(continuation))


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
