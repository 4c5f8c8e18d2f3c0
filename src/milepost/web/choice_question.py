"""A question with choices: its text, what each checkpoint picked, and how probable each choice was to it."""

from __future__ import annotations

from collections.abc import Iterator

from milepost.analysis.pick_bias import position_name
from milepost.report.blocks import Block, Choice, Details, Question
from milepost.report.formatting import printable_lines
from milepost.report.table import Cell, Column, Table, columns
from milepost.store import pick_history as store
from milepost.text.language import _
from milepost.types.histories import PickHistory
from milepost.web.question_parts import Shares, answer_rows, request_blocks, split_prompt, through_training


def choice_blocks(history: PickHistory, doc: store.Question, place: int, shares: Shares) -> Iterator[Block]:
    """Yield what the page of a doc shows.

    Args:
        place: the doc's place in the history.
        shares: probabilities of the choices among each other.
    """
    names = [position_name(position) for position in range(len(doc.requests))]
    contexts = {context for context, _continuation in doc.requests}
    last = shares[-1]
    picked = int(history.pick[-1, place])
    before, end = split_prompt(doc.requests[0][0]) if len(contexts) == 1 else ((), "")
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
        answer_rows(history, place, picks, shares, len(names)),
        notes=(_("* right; margin: log-likelihood of the right choice over the best wrong one, in nats"),),
    )
    yield through_training(
        history,
        names,
        doc.right,
        shares,
        table,
        _("Probability of each choice through training"),
        _("n = 1 doc, so there is no interval · probability of each choice among those of the question · ")
        + _("the right one has a thick line"),
    )
    yield Details(_("Each request as the model saw it"), tuple(request_blocks(doc, names)))


def _note(probability: float | None, is_picked: bool) -> str:
    parts = [] if probability is None else [f"{probability:.1%}"]
    return " · ".join([*parts, _("picked at last")] if is_picked else parts)
