"""A question whose answer is a text: what each checkpoint wrote, or how probable the right text was to it."""

from __future__ import annotations

from collections.abc import Iterator

from milepost.report.blocks import Block, Details, Facts, Question, Quote, strong
from milepost.report.formatting import NOT_MEASURED, printable_lines, step_label
from milepost.report.questions import likeliest_tokens
from milepost.report.table import Cell, Column, Table
from milepost.store import pick_history as store
from milepost.text.language import Phrase, _, joined
from milepost.text.safe_text import printable
from milepost.types.histories import PickHistory
from milepost.web.question_parts import Shares, answer_rows, request_blocks, split_prompt, through_training


def text_blocks(history: PickHistory, doc: store.Question, place: int, shares: Shares) -> Iterator[Block]:
    """Yield what the page of a doc shows.

    Args:
        place: the doc's place in the history.
        shares: probabilities of the continuations that were scored.
    """
    assert history.text is not None
    scored = [printable(text.strip()) for _context, text in doc.requests if text]
    facts = [(_("right"), printable_lines(doc.target))]
    facts += [(_("continuation that is scored"), text) for text in scored]
    before, end = split_prompt(doc.requests[0][0])
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
        answer_rows(history, place, answers, shares, len(names) if scored else 0),
        notes=(_("right: {metric} is at least 0.5", metric=metric),),
    )
    if any(each is not None for each in shares):
        label = _("Probability of the continuation through training")
        caption = _("n = 1 doc, so there is no interval · probability of the continuation after the context")
        yield through_training(history, names, range(len(names)), shares, table, label, caption, log=True)
    else:
        yield table
    if any(doc.written):
        yield Details(_("What each checkpoint wrote"), tuple(_written(history, doc)))
    if any(doc.likeliest):
        yield Details(_("How likely its first tokens were"), tuple(_likeliest(history, doc)))
    names = [str(number + 1) for number in range(len(doc.requests))]
    yield Details(_("Each request as the model saw it"), tuple(request_blocks(doc, names)))


def _shown(answer: str) -> str:
    if isinstance(answer, Phrase):
        return answer
    return printable(answer.strip()) or _("(nothing)")


def _written(history: PickHistory, doc: store.Question) -> Iterator[Block]:
    for step, checkpoint, text in zip(history.steps, history.checkpoints, doc.written, strict=True):
        yield strong(step_label(step, checkpoint))
        yield Quote(printable_lines(text) or _("(nothing)"))


def _likeliest(history: PickHistory, doc: store.Question) -> Iterator[Block]:
    for step, checkpoint, likeliest in zip(history.steps, history.checkpoints, doc.likeliest, strict=True):
        yield joined(": ", (step_label(step, checkpoint), likeliest_tokens(likeliest)))
