"""Questions: which docs were learned or forgotten, found by their texts and by how they went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypedDict
from urllib.parse import urlencode

from milepost.analysis.questions import KINDS, FoundDocs, Kind, find_docs
from milepost.errors import ResultsError
from milepost.report.blocks import Block, Controls, Field, Links, Note, Option
from milepost.report.formatting import NOT_MEASURED, decimals
from milepost.report.questions import RIGHT_TEXT, WRONG_TEXT, pick_mark, question_record
from milepost.report.table import Cell, CellRow, Column, Table, cells, columns
from milepost.results.questions import Histories
from milepost.store.pick_history import Question
from milepost.store.task_metrics import TaskMetrics
from milepost.text.language import Phrase, _, ngettext
from milepost.text.safe_text import blanked, printable
from milepost.types.histories import PickHistory
from milepost.web.choices import options
from milepost.web.damage import damage_lines, places
from milepost.web.page import Page, PageKind, Parameter, View
from milepost.web.query import Query

ON_A_PAGE = 25
HIGHEST_PAGE = 1_000_000
SHOWN_CHARACTERS = 220
"""Characters of a prompt in the list, from its end: few-shot examples stand before the question."""
MOST_CHECKPOINTS = 60
"""Checkpoints whose picks are a letter each in the list; of more, the last ones are shown."""

Doc = tuple[PickHistory, Question]


class QuestionsData(TypedDict):
    """Docs with their picks, as `milepost questions --json` gives them, a part of all that were found."""

    kind: str
    search: str
    total: int
    page: int
    pages: int
    questions: list[dict[str, Any]]
    damaged: dict[str, str]


def questions(view: View, query: Query) -> Page:
    """Return the docs of a kind, a part of the list at a time."""
    kind = _kind(query)
    search = query.text("search")
    page = query.number("page", 1, low=1, high=HIGHEST_PAGE)
    choosable = [task for task in view.index.tasks(()) if has_answers(task)]
    if not choosable:
        return _nothing(kind, search)
    tasks, series = query.texts("task"), query.texts("series")
    try:
        read = view.questions.histories(view.index, tasks, series)
    except ResultsError:
        if tasks or series:
            raise
        return _nothing(kind, search)
    found = _found(view, read, kind, search)
    pages = max(1, -(-len(found) // ON_A_PAGE))
    docs, damaged = _docs(view, found.part((page - 1) * ON_A_PAGE, ON_A_PAGE))
    damaged |= places(read.damaged, view.index)
    return Page(
        title=_("Questions"),
        blocks=(
            _controls(query, choosable, kind, search),
            *damage_lines(damaged),
            Note(ngettext("{n} question", "{n} questions", len(found))),
            *_list(docs, query),
            *_links(query, page, pages),
        ),
        data=QuestionsData(
            kind=kind,
            search=search,
            total=len(found),
            page=page,
            pages=pages,
            questions=[question_record(*doc) for doc in docs],
            damaged=damaged,
        ),
    )


def has_answers(task: TaskMetrics) -> bool:
    """Return whether answers to a task may be right or wrong: choices, or a metric that has a better end."""
    return not task.is_group and (task.has_picks or any(row.higher_is_better is True for row in task.rows))


def _kind(query: Query) -> Kind:
    wanted = query.choice("kind", KINDS, "all")
    return next(kind for kind in KINDS if kind == wanted)


def _nothing(kind: Kind, search: str) -> Page:
    empty = QuestionsData(kind=kind, search=search, total=0, page=1, pages=1, questions=[], damaged={})
    note = _("Nothing is measured yet, or no answer here is right or wrong.")
    return Page(title=_("Questions"), blocks=(Note(note),), data=empty)


def _found(view: View, read: Histories, kind: Kind, search: str) -> FoundDocs:
    if not read.found:
        raise ResultsError(
            Phrase("the answers of all checkpoints are damaged"),
            Phrase("`milepost verify RESULTS` names each damaged record"),
        )
    among = view.questions.having(view.index.folder, read.found, search) if search.strip() else None
    return find_docs(read.found, kind, among)


def _docs(view: View, wanted: Sequence[tuple[PickHistory, int]]) -> tuple[list[Doc], dict[str, str]]:
    """Return docs as the model saw them, and the reasons why some cannot be read."""
    found: list[Doc] = []
    damaged: dict[str, str] = {}
    of_record: dict[str, list[tuple[PickHistory, int]]] = {}
    for history, doc in wanted:
        of_record.setdefault(history.docs_id, []).append((history, doc))
    read: dict[tuple[str, int], Question] = {}
    for docs_id, own in of_record.items():
        try:
            docs = view.questions.docs(view.index.folder, own)
        except ResultsError as error:
            damaged[f"docs/{docs_id}"] = error.message
            continue
        read |= {(docs_id, doc.doc_id): doc for doc in docs}
    for history, doc in wanted:
        if (question := read.get((history.docs_id, doc))) is not None:
            found.append((history, question))
    return found, damaged


def _controls(query: Query, choosable: Sequence[TaskMetrics], kind: Kind, search: str) -> Controls:
    series = tuple(dict.fromkeys(task.series for task in choosable))
    groups = tuple(dict.fromkeys(parent for task in choosable for parent in task.rows[0].parents))
    names = (*groups, *dict.fromkeys(task.label for task in choosable))
    kinds = tuple(Option(each, words) for each, words in _kinds())
    all_tasks, all_series = (Option("", _("all tasks")),), (Option("", _("all")),)
    fields = [
        Field("search", _("Search"), "text", chosen=(search,), hint=_("words of the question")),
        Field("kind", _("Kind"), "one", kinds, (kind,)),
        Field("task", _("Task"), "one", all_tasks + options(names), query.texts("task")[:1]),
    ]
    if len(series) > 1:
        chosen = query.texts("series")[:1]
        fields.append(Field("series", _("Series"), "one", all_series + options(series), chosen))
    return Controls(tuple(fields), _("Questions to show"))


def _kinds() -> Iterator[tuple[str, str]]:
    yield "all", _("all")
    yield "learned", _("learned: wrong at first, right at last")
    yield "forgotten", _("forgotten: once right, wrong at last")
    yield "flips", _("flips: changed most often")
    yield "always-wrong", _("always wrong")
    yield "always-right", _("always right")


def _list(docs: Sequence[Doc], query: Query) -> Iterator[Block]:
    if not docs:
        return
    several = len({history.series for history, _question in docs}) > 1
    of_text = {history.text is not None for history, _question in docs}
    yield Table(
        (
            *(columns("series", left=("series",)) if several else ()),
            *columns("task", "doc", "question", "picks", left=("task", "picks"), wraps=("question",)),
            Column("margin")
            if of_text == {False}
            else Column("value")
            if of_text == {True}
            else Column("margin or value"),
        ),
        tuple(_row(*doc, query, several=several) for doc in docs),
    )
    if False in of_text:
        yield Note(
            _(
                "picks: a letter per checkpoint, upper case where it is right; margin: log-likelihood of the "
                "right choice over the best wrong one at the last checkpoint, in nats"
            )
        )
    if True in of_text:
        yield Note(
            _(
                "{right} a checkpoint whose text is right, {wrong} one whose text is not; value: the doc's "
                "metric at the last checkpoint, right from 0.5 on",
                right=RIGHT_TEXT,
                wrong=WRONG_TEXT,
            )
        )


def _row(history: PickHistory, doc: Question, query: Query, *, several: bool) -> CellRow:
    place = history.doc_id.tolist().index(doc.doc_id)
    picks = zip(history.pick[:, place].tolist(), history.right[:, place].tolist(), strict=True)
    letters = "".join(pick_mark(history, pick, right) for pick, right in picks)
    shown = letters if len(letters) <= MOST_CHECKPOINTS else f"…{letters[-MOST_CHECKPOINTS:]}"
    margin = float(history.margin[-1, place])
    return cells(
        [
            *([printable(history.series)] if several else []),
            printable(history.task),
            Cell(f"{doc.doc_id}", href=address_of(history, doc.doc_id, query)),
            _in_short(doc),
            shown,
            NOT_MEASURED if margin != margin else decimals(margin, 2),
        ]
    )


def _in_short(doc: Question) -> str:
    """Return the end of the prompt in one line."""
    text = " ".join(blanked(doc.requests[0][0][-4 * SHOWN_CHARACTERS :]).split())
    return text if len(text) <= SHOWN_CHARACTERS else f"… {text[-SHOWN_CHARACTERS:]}"


def address_of(history: PickHistory, doc: int, query: Query) -> str:
    """Return the address of the page of one question."""
    kept = {"lang": query.text("lang")} if query.text("lang") else {}
    return "/question?" + urlencode({"series": history.series, "task": history.task, "doc": doc, **kept})


def _links(query: Query, page: int, pages: int) -> Iterator[Block]:
    if pages == 1:
        return
    before = [(_("First"), 1), (_("Previous"), page - 1)] if page > 1 else []
    after = [(_("Next"), page + 1), (_("Last"), pages)] if page < pages else []
    items = [*before, (_("{page} of {pages}", page=page, pages=pages), page), *after]
    yield Links(
        tuple((text, query.having(page=number) if number != page else "") for text, number in items),
        _("Parts of the list"),
    )


PAGE = PageKind(
    name="questions",
    label="Questions",
    about="Docs that were learned, forgotten, or always right or wrong, with each checkpoint's answer.",
    make=questions,
    data=QuestionsData,
    parameters=(
        Parameter(name="search", about="Words that stand in the question."),
        Parameter(name="kind", about="How the answers went through training.", values=KINDS),
        Parameter(name="task", about="A task, a group or a pattern.", repeats=True),
        Parameter(name="series", about="A training run or a pattern.", repeats=True),
        Parameter(
            name="page", about="The part of the list, from 1.", kind="integer", lowest=1, highest=HIGHEST_PAGE
        ),
    ),
)
