"""The report of `milepost questions`: what the model saw, and what each checkpoint picked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from milepost.analysis.paired import holm
from milepost.analysis.pick_bias import position_name
from milepost.analysis.questions import StepChange, Totals
from milepost.report.blocks import Block, Line, strong
from milepost.report.formatting import decimals, printable_lines, step_label
from milepost.report.table import Cell, Table, Tone, cells, columns
from milepost.store.pick_history import Question
from milepost.text.language import Phrase, joined
from milepost.text.safe_text import printable
from milepost.types.histories import PickHistory

LEVELS = "▁▂▃▄▅▆▇█"
SHOWN_CHARACTERS = 600
"""Characters shown of a prompt, from its end: few-shot examples stand before the question."""
LEGEND = Phrase(
    "picks: a letter per checkpoint, upper case where it is right; margin: log-likelihood of the right "
    "choice minus that of the best wrong one, in nats; * right, > what the last checkpoint picks; in "
    "parentheses: the choice's log-likelihood at the first and the last checkpoint, in nats"
)
TEXT_LEGEND = Phrase(
    "right: the answer that the task expects, then the answers of the first and the last checkpoint; ● a "
    "checkpoint that is right: its metric is at least half"
)
RIGHT_TEXT, WRONG_TEXT = "●", "·"
ONE_CHECKPOINT = Phrase("one checkpoint only: nothing can have been learned or forgotten yet")


def question_report(
    history: PickHistory,
    doc: Question,
    *,
    tokens: Sequence[str] | None = None,
    whole: bool = False,
    name_series: bool = False,
) -> Iterator[Block]:
    """Yield one doc: prompt, choices, and a strip of picks and margins.

    Args:
        tokens: the first choice's prompt as the model's tokens, to be shown as well.
        whole: show the whole prompt, few-shot examples and all.
        name_series: say which training run it is.
    """
    place = history.doc_id.tolist().index(doc.doc_id)
    title = Phrase("{task}, doc {doc_id}", task=printable(history.task), doc_id=doc.doc_id)
    yield strong(joined(": ", (printable(history.series), title)) if name_series else title)
    contexts = {context for context, _ in doc.requests}
    if history.text is not None:
        yield from _texts(history, doc, whole)
    elif len(contexts) == 1:
        yield from _prompt(doc.requests[0][0], whole)
    last_pick = int(history.pick[-1, place])
    for position, (context, continuation) in enumerate(() if history.text else doc.requests):
        text = continuation if len(contexts) == 1 else context + continuation
        marks = f"{'>' if position == last_pick else ' '}{'*' if position in doc.right else ' '}"
        line = f"{marks} {position_name(position)}  {printable_lines(text).strip()}"
        line += _loglikelihoods([of_checkpoint[position] for of_checkpoint in doc.loglikelihoods])
        yield _line(line, "strong" if position in doc.right else "")
    yield from _strips(history, place)
    if tokens is not None:
        texts = "|".join(map(printable, tokens))
        yield _line(Phrase("{n} tokens: {texts}", n=len(tokens), texts=texts))
    yield ""


def stats_report(history: PickHistory, changes: Sequence[StepChange], totals: Totals) -> Iterator[Block]:
    """Yield what was learned and forgotten at each step, and over the whole series."""
    rows = [
        (step_label(change.step, change.checkpoint), str(change.right))
        + ((str(change.learned), str(change.forgotten), f"{change.p_value:.2g}") if number else ("", "", ""))
        for number, change in enumerate(changes)
    ]
    yield Table(
        columns("step", "right", "learned", "forgotten", "p"),
        tuple(map(cells, rows)),
        title=printable(f"{history.series}: {history.task}"),
    )
    if len(changes) == 1:
        yield ONE_CHECKPOINT
        return
    yield Phrase(
        "of {docs:,} docs: always right {always_right:,}, always wrong {always_wrong:,}, "
        "learned {learned:,}, forgotten {forgotten:,}; first against last p = {p_value:.2g}",
        **asdict(totals),
    )
    yield ""


def stats_by_task(series: str, of_tasks: Sequence[tuple[PickHistory, Totals]]) -> Iterator[Block]:
    """Yield what was learned and forgotten over the whole series, a row per task."""
    adjusted = holm([totals.p_value for _, totals in of_tasks])
    rows = [
        (
            printable(history.task),
            *map(str, (of.docs, of.always_right, of.always_wrong, of.learned, of.forgotten)),
            f"{p_value:.2g}",
        )
        for (history, of), p_value in zip(of_tasks, adjusted, strict=True)
    ]
    names = ("task", "docs", "always right", "always wrong", "learned", "forgotten", "p Holm")
    yield Table(
        columns(*names, wraps=("task",)),
        tuple(map(cells, rows)),
        title=Phrase("{series}: by task", series=printable(series)),
    )
    yield ""


def question_record(history: PickHistory, doc: Question) -> dict[str, Any]:
    """Return one doc as data."""
    place = history.doc_id.tolist().index(doc.doc_id)
    loglikelihoods = doc.loglikelihoods or [()] * len(history.checkpoints)
    steps = zip(
        history.checkpoints,
        history.steps,
        loglikelihoods,
        doc.texts or [""] * len(history.checkpoints),
        doc.written or [""] * len(history.checkpoints),
        doc.likeliest or [()] * len(history.checkpoints),
        history.pick[:, place].tolist(),
        history.right[:, place].tolist(),
        history.margin[:, place].tolist(),
        strict=True,
    )
    return {
        "series": history.series,
        "task": history.task,
        "doc_id": doc.doc_id,
        "requests": [{"context": context, "continuation": text} for context, text in doc.requests],
        "right": list(doc.right),
        **({} if history.text is None else {"target": doc.target, "metric": history.text.metric}),
        "checkpoints": [
            {
                "checkpoint": checkpoint,
                "step": step,
                "is_right": right,
                **(
                    {
                        "pick": pick,
                        "margin": None if math.isnan(margin) else margin,
                        "loglikelihoods": [None if math.isnan(nats) else nats for nats in of_choices],
                    }
                    if history.text is None
                    else {
                        "text": text,
                        "written": written,
                        "value": margin,
                        **({"likeliest_first_tokens": likeliest} if likeliest else {}),
                    }
                ),
            }
            for checkpoint, step, of_choices, text, written, likeliest, pick, right, margin in steps
        ],
    }


def stats_record(history: PickHistory, changes: Sequence[StepChange], totals: Totals) -> dict[str, Any]:
    """Return the numbers of `stats_report` as data."""
    return {
        "series": history.series,
        "task": history.task,
        **asdict(totals),
        "steps": [asdict(change) for change in changes],
    }


def _prompt(context: str, whole: bool) -> Iterator[Line]:
    shown = context if whole else context[-SHOWN_CHARACTERS:]
    if len(shown) < len(context):
        shown = shown[shown.find("\n") + 1 :]  # from the beginning of a line
        before = Phrase("... {n:,} characters before; --full shows them", n=len(context) - len(shown))
        yield _line(before, "faint")
    yield _line(printable_lines(shown))


def _loglikelihoods(nats: Sequence[float]) -> str:
    """Return a choice's log-likelihood at the first and the last checkpoint: `  (−14.20 → −3.11)`."""
    ends = [nats[0], nats[-1]] if len(nats) > 1 else nats
    return f"  ({' → '.join(decimals(one, 2) for one in ends)})" if ends else ""


def _texts(history: PickHistory, doc: Question, whole: bool) -> Iterator[Line]:
    """Yield the prompts of a doc, what is right, and what the first and the last checkpoint answered."""
    for context, continuation in doc.requests:
        yield from _prompt(context, whole)
        if continuation:
            scored = Phrase("continuation that is scored")
            yield _line(joined(": ", (scored, printable(continuation.strip()))))
    yield _line(joined(": ", (Phrase("right"), printable(doc.target))), "strong")
    ends = dict.fromkeys((0, len(doc.texts) - 1))
    for number in ends:
        step = step_label(history.steps[number], history.checkpoints[number])
        text = printable(doc.texts[number].strip()) or Phrase("(nothing)")
        yield _line(joined(": ", (step, text)))
        if number < len(doc.likeliest) and doc.likeliest[number]:
            yield _line(likeliest_tokens(doc.likeliest[number]), "faint")


def likeliest_tokens(likeliest: Sequence[tuple[str, float]]) -> str:
    """Return the likeliest first tokens of an answer with their log-probabilities in nats."""
    pairs = (f"'{printable(text)}' {decimals(nats, 2)}" for text, nats in likeliest)
    return Phrase("likeliest first tokens: {tokens}", tokens=", ".join(pairs))


def pick_mark(history: PickHistory, pick: int, right: bool) -> str:
    """Return a character for one answer: the choice's letter, upper case if right, or whether a text is."""
    if history.text is not None:
        return RIGHT_TEXT if right else WRONG_TEXT
    return position_name(pick) if right else position_name(pick).lower()


def _strips(history: PickHistory, place: int) -> Iterator[Line]:
    picks = zip(history.pick[:, place].tolist(), history.right[:, place].tolist(), strict=True)
    yield Line(
        (
            Cell(Phrase("right   ") if history.text else Phrase("picks   ")),
            *(Cell(pick_mark(history, *pick), "right" if pick[1] else "faint") for pick in picks),
        )
    )
    margins = history.margin[:, place].tolist()
    known = [margin for margin in margins if not math.isnan(margin)]
    if not known:
        return
    most = max(abs(margin) for margin in known) or 1.0
    shares = [2 * value - 1 for value in margins] if history.text else [margin / most for margin in margins]
    levels = "".join(" " if math.isnan(share) else _level(share) for share in shares)
    if history.text is not None:
        ends = " → ".join(f"{value:.2f}" for value in dict.fromkeys((known[0], known[-1])))
        ends += f" {history.text.metric}"
    else:
        ends = " → ".join(
            decimals(value, 2, sign=True) for value in ([known[0], known[-1]] if len(known) > 1 else known)
        )
        ends += " nats"
    steps = [step for step in history.steps if step is not None]
    reach = [Phrase("steps {first} to {last}", first=steps[0], last=steps[-1])] if len(steps) > 1 else []
    name = Phrase("value   ") if history.text else Phrase("margin  ")
    yield _line(joined("", (name, levels, "  ", joined(", ", (ends, *reach)))))


def _level(share: float) -> str:
    """Return the lowest bar for -1 and the highest for 1."""
    return LEVELS[min(len(LEVELS) - 1, int((share + 1) / 2 * len(LEVELS)))]


def _line(text: str, tone: Tone = "") -> Line:
    return Line((Cell(text, tone),))
