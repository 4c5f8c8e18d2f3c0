"""Questions for people: what the model saw, and what each checkpoint picked, as a strip through training."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from milepost.analysis.paired import holm
from milepost.analysis.pick_bias import position_name
from milepost.analysis.questions import StepChange, Totals
from milepost.report.wide import Wide
from milepost.result_types import PickHistory
from milepost.safe_text import printable
from milepost.store.pick_history import Question

LEVELS = "▁▂▃▄▅▆▇█"
SHOWN_CHARACTERS = 600
"""Of a prompt, its end: few-shot examples stand before the question."""
LEGEND = (
    "picks: a letter per checkpoint, upper case where it is right; margin: log-likelihood of the right "
    "choice minus that of the best wrong one, in nats; * right, > what the last checkpoint picks"
)

ONE_CHECKPOINT = "one checkpoint only: nothing can have been learned or forgotten yet"


def question(
    history: PickHistory,
    asked: Question,
    *,
    tokens: Sequence[str] | None = None,
    whole: bool = False,
    name_series: bool = False,
) -> Iterator[RenderableType]:
    """One doc: prompt, choices, and the strips.

    Args:
        tokens: the first choice's prompt as the model's tokens, to be shown as well.
        whole: the whole prompt, few-shot examples and all.
        name_series: say which training run it is.
    """
    place = history.doc_id.tolist().index(asked.doc_id)
    series = f"{printable(history.series)}: " if name_series else ""
    yield Text(f"{series}{printable(history.task)}, doc {asked.doc_id}", style="bold")
    contexts = {context for context, _ in asked.requests}
    if len(contexts) == 1:
        yield _prompt(asked.requests[0][0], whole)
    last_pick = int(history.pick[-1, place])
    for position, (context, continuation) in enumerate(asked.requests):
        text = continuation if len(contexts) == 1 else context + continuation
        yield _choice(position, text, position in asked.right, position == last_pick)
    yield from _strips(history, place)
    if tokens is not None:
        yield Text(f"{len(tokens)} tokens: {'|'.join(map(printable, tokens))}")
    yield Text()


def stats(history: PickHistory, changes: Sequence[StepChange], totals: Totals) -> Iterator[RenderableType]:
    """Learned and forgotten at each step, and over the whole series."""
    made = _table(f"{history.series}: {history.task}")
    for heading in ("step", "right", "learned", "forgotten", "p"):
        made.add_column(heading, justify="right", no_wrap=True)
    for number, change in enumerate(changes):
        label = printable(change.checkpoint) if change.step is None else str(change.step)
        moved = (
            [str(change.learned), str(change.forgotten), f"{change.p_value:.2g}"] if number else ["", "", ""]
        )
        made.add_row(label, str(change.right), *moved)
    yield made
    if len(changes) == 1:
        yield Text(ONE_CHECKPOINT)
        return
    yield Text(
        f"of {totals.docs:,} docs: always right {totals.always_right:,}, always wrong "
        f"{totals.always_wrong:,}, learned {totals.learned:,}, forgotten {totals.forgotten:,}; "
        f"first against last p = {totals.p_value:.2g}"
    )
    yield Text()


def stats_by_task(series: str, of_tasks: Sequence[tuple[PickHistory, Totals]]) -> Iterator[RenderableType]:
    """Learned and forgotten over the whole series, a line per task."""
    made = _table(f"{series}: by task")
    made.add_column("task", no_wrap=True)
    for heading in ("docs", "always right", "always wrong", "learned", "forgotten", "p Holm"):
        made.add_column(heading, justify="right", no_wrap=True)
    adjusted = holm([of.p_value for _, of in of_tasks])
    for (history, of), p_value in zip(of_tasks, adjusted, strict=True):
        counts = (of.docs, of.always_right, of.always_wrong, of.learned, of.forgotten)
        made.add_row(Text(printable(history.task)), *map(str, counts), f"{p_value:.2g}")
    yield Wide(made)
    yield Text()


def as_json(history: PickHistory, asked: Question) -> dict[str, Any]:
    """One doc as data."""
    place = history.doc_id.tolist().index(asked.doc_id)
    steps = zip(
        history.checkpoints,
        history.steps,
        history.pick[:, place].tolist(),
        history.right[:, place].tolist(),
        history.margin[:, place].tolist(),
        strict=True,
    )
    return {
        "series": history.series,
        "task": history.task,
        "doc_id": asked.doc_id,
        "requests": [{"context": context, "continuation": text} for context, text in asked.requests],
        "right": list(asked.right),
        "checkpoints": [
            {
                "checkpoint": checkpoint,
                "step": step,
                "pick": pick,
                "is_right": right,
                "margin": None if math.isnan(margin) else margin,
            }
            for checkpoint, step, pick, right, margin in steps
        ],
    }


def stats_as_json(history: PickHistory, changes: Sequence[StepChange], totals: Totals) -> dict[str, Any]:
    """The figures of `stats` as data."""
    return {
        "series": history.series,
        "task": history.task,
        **asdict(totals),
        "steps": [asdict(change) for change in changes],
    }


def dumps(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)


def _table(title: str) -> Table:
    return Table(
        title=Text(printable(title), style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )


def _prompt(context: str, whole: bool) -> Text:
    shown = context if whole else context[-SHOWN_CHARACTERS:]
    if len(shown) < len(context):
        shown = shown[shown.find("\n") + 1 :]  # from the beginning of a line
    cut = len(context) - len(shown)
    text = Text(f"... {cut:,} characters before; --full shows them\n" if cut else "", style="dim")
    return text.append(_lines(shown), style="none")


def _choice(position: int, text: str, right: bool, picked: bool) -> Text:
    marks = f"{'>' if picked else ' '}{'*' if right else ' '}"
    line = f"{marks} {position_name(position)}  {_lines(text).strip()}"
    return Text(line, style="bold" if right else "none")


def _strips(history: PickHistory, place: int) -> Iterator[Text]:
    picks = Text("picks   ")
    for pick, right in zip(history.pick[:, place].tolist(), history.right[:, place].tolist(), strict=True):
        letter = position_name(pick)
        picks.append(letter if right else letter.lower(), style="bold green" if right else "dim")
    margins = history.margin[:, place].tolist()
    known = [margin for margin in margins if not math.isnan(margin)]
    yield picks
    if not known:
        return
    most = max(abs(margin) for margin in known) or 1.0
    levels = "".join(" " if math.isnan(margin) else _level(margin / most) for margin in margins)
    ends = f"  {known[0]:+.2f} to {known[-1]:+.2f} nats" if len(known) > 1 else f"  {known[0]:+.2f} nats"
    steps = [step for step in history.steps if step is not None]
    reach = f", steps {steps[0]} to {steps[-1]}" if len(steps) > 1 else ""
    yield Text(f"margin  {levels}{ends}{reach}")


def _level(share: float) -> str:
    """-1 the lowest, 0 between the two in the middle, 1 the highest."""
    return LEVELS[min(len(LEVELS) - 1, int((share + 1) / 2 * len(LEVELS)))]


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))
