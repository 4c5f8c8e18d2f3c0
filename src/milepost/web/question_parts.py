"""Parts of the page of a question that are the same whether it offers choices or asks for a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from milepost.report.blocks import Block, Chart, Details, Quote, strong
from milepost.report.charts.choice_curves import choice_curves
from milepost.report.formatting import NOT_MEASURED, decimals, printable_lines, step_label
from milepost.report.table import Cell, Table, cells
from milepost.store.pick_history import Question
from milepost.text.language import _
from milepost.types.histories import PickHistory

LONG_PROMPT, SHOWN_OF_LONG = 1500, 900
"""Characters from which on a prompt is folded, and those of its end that are shown: examples come first."""

Shares = Sequence[list[float] | None]
"""[S] of numbers from 0 to 1; None where the model gave none."""


def split_prompt(prompt: str) -> tuple[tuple[Block, ...], str]:
    """Return a long prompt in two: what stands before the last examples, folded, and its end."""
    if len(prompt) <= LONG_PROMPT:
        return (), printable_lines(prompt)
    cut = prompt.find("\n", len(prompt) - SHOWN_OF_LONG) + 1 or len(prompt) - SHOWN_OF_LONG
    summary = _("{n} characters before it", n=format(cut, ","))
    return (Details(summary, (Quote(printable_lines(prompt[:cut])),)),), printable_lines(prompt[cut:])


def answer_rows(
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


def through_training(
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


def request_blocks(doc: Question, names: Sequence[str]) -> Iterator[Block]:
    """Yield the context and the continuation of each request of a doc, under a name."""
    for name, (context, continuation) in zip(names, doc.requests, strict=True):
        yield strong(_("{name}: context", name=name))
        yield Quote(printable_lines(context))
        if continuation:
            yield strong(_("{name}: continuation that is scored", name=name))
            yield Quote(printable_lines(continuation))
