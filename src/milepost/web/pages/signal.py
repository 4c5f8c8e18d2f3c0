"""Signal: which tasks are worth watching at this scale, and why, with the curve beside the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypedDict
from urllib.parse import urlencode

from milepost.analysis import Row, rows
from milepost.analysis.selection import overview
from milepost.analysis.task_signal import TaskSignal
from milepost.report.blocks import (
    Block,
    Card,
    Controls,
    Details,
    Grid,
    Mood,
    Note,
    Section,
    Sparkline,
    Verdict,
)
from milepost.report.cards import interval_text
from milepost.report.formatting import NOT_MEASURED, decimals, metric_heading, metric_name, number
from milepost.report.signal import by_signal, signal_records, signal_report
from milepost.report.table import grouped
from milepost.results import Selection
from milepost.results.signal import rate_tasks
from milepost.text.language import _
from milepost.text.safe_text import printable
from milepost.types.metrics import Measurement
from milepost.web.choices import any_of, switch
from milepost.web.page import Page, PageKind, Parameter, View
from milepost.web.query import Query

FEW_TASKS = 40
"""With more tasks, only groups and the tasks in no group are rated until the reader asks for all."""
CARDS = 24
"""Tasks of a series with a curve; the table has the others."""
MOODS: dict[str, Mood] = {
    "watch": "good",
    "no steady trend": "still",
    "too noisy at this scale": "still",
    "at chance": "waiting",
    "too few checkpoints": "",
    "too few docs": "",
}


class SignalData(TypedDict):
    """The ratings as `milepost signal --json` gives them."""

    all: bool
    signals: list[dict[str, Any]]


def signal(view: View, query: Query) -> Page:
    """Return the rating of each task."""
    title = _("Signal")
    if not view.index.scored:
        nothing = SignalData(all=True, signals=[])
        return Page(title=title, blocks=(Note(_("Nothing is measured yet.")),), data=nothing)
    measured = view.index.metrics(())
    names = list(dict.fromkeys(row.label for row in measured))
    everything = query.flag("all") or len(names) <= FEW_TASKS
    chosen = query.texts("task") or (
        () if everything else tuple(dict.fromkeys(row.label for row in overview(measured)))
    )
    last = query.number("last", 5, low=1, high=1000)
    signals, picked = rate_tasks(view.index, Selection(tasks=chosen, series=query.texts("series")), last)
    blocks = [*_controls(names, query, everything), *_blocks(signals, picked)]
    return Page(
        title=title,
        blocks=tuple(blocks),
        data=SignalData(all=everything and not query.texts("task"), signals=signal_records(signals)),
    )


def _controls(names: Sequence[str], query: Query, everything: bool) -> Iterator[Block]:
    fields = []
    if len(names) > FEW_TASKS:
        words = {"0": _("groups and lone tasks"), "1": _("all")}
        fields.append(switch("all", _("Tasks"), words, "1" if everything else "0"))
    fields.append(any_of("task", _("Choose tasks"), names, query.texts("task")))
    yield Controls(tuple(fields), _("What is rated"))


def _blocks(signals: Sequence[TaskSignal], picked: Sequence[Measurement]) -> Iterator[Block]:
    mains = {(each.series, each.task, each.main.metric, each.main.filter) for each in signals}
    shown = [row for row in picked if (row.series, row.label, row.metric, row.filter) in mains]
    curves = grouped(rows(shown, picked), lambda row: (row.series, row.label, row.metric, row.filter))
    for place, (series, own) in enumerate(grouped(signals, lambda each: each.series).items()):
        ordered = sorted(own, key=by_signal)
        cards = tuple(
            _card(each, curves[each.series, each.task, each.main.metric, each.main.filter])
            for each in ordered[:CARDS]
        )
        yield Section(f"series-{place}", printable(series), (Grid(cards),))
    yield Details(_("All ratings as a table"), tuple(signal_report(signals)))


def _card(signal: TaskSignal, curve: Sequence[Row]) -> Card:
    known = [row for row in curve if row.value is not None]
    last = known[-1]
    rating, metric = signal.main.rating, signal.main.metric
    gain = f"{decimals(rating.gain_sigmas, 1, sign=True)} σ"
    clearest = signal.clearest
    facts = [(_("why"), rating.reason), (_("gain"), gain), (_("docs"), f"{signal.n:,}")]
    if clearest is not None and clearest is not signal.main:
        name = metric_name(clearest.metric, clearest.filter)
        facts.append(
            (_("clearest metric"), f"{name} {decimals(clearest.rating.gain_sigmas, 1, sign=True)} σ")
        )
    return Card(
        title=printable(signal.task),
        about=metric_heading(metric, signal.main.filter, last.higher_is_better),
        figure=NOT_MEASURED if last.value is None else number(last.value, metric),
        beside=interval_text(last),
        sparkline=Sparkline(
            _("{task}: {n} checkpoints", task=printable(signal.task), n=len(known)),
            tuple(row.value for row in curve),
            tuple(row.ci_low for row in curve),
            tuple(row.ci_high for row in curve),
            places=_places(curve),
            level=signal.chance,
        ),
        verdict=Verdict(_(rating.verdict), MOODS[rating.verdict]),
        facts=tuple(facts),
        href="/curves?" + urlencode({"series": signal.series, "task": signal.task}),
    )


def _places(curve: Sequence[Row]) -> tuple[float, ...]:
    steps = [row.step for row in curve if row.step is not None]
    return tuple(map(float, steps)) if len(steps) == len(curve) else ()


PAGE = PageKind(
    name="signal",
    label="Signal",
    about="Which tasks are worth watching at this scale, and by which metric.",
    make=signal,
    data=SignalData,
    parameters=(
        Parameter(name="task", about="A task, a group or a pattern.", repeats=True),
        Parameter(name="series", about="A training run or a pattern.", repeats=True),
        Parameter(name="all", about="Every task, not only groups and lone tasks.", kind="boolean"),
        Parameter(
            name="last",
            about="Checkpoints at either end that are taken together.",
            kind="integer",
            lowest=1,
            highest=1000,
        ),
    ),
)
